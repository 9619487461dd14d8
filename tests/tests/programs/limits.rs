//! Directives that limit clients or change how messages are handled.

use std::thread;

use tests::{Broker, Finished, Kind, Program, RawClient};

fn publish(broker: &Broker, options: &str) -> Finished {
    broker
        .program("rpub")
        .args("-t a -i id")
        .args(if options.contains("-m ") { "" } else { "-m x" })
        .args(options)
        .run()
}

/// Returns the output of a subscriber for the messages that are published after it has subscribed.
fn receive(broker: &Broker, options: &str, published: &[&str]) -> String {
    let subscriber = broker.program("rsub").args("-i s").args(options).start();
    broker.wait_for_log("Sending SUBACK to s");
    for options in published {
        publish(broker, options).success();
    }
    subscriber.wait().success().text()
}

#[test]
fn protocol_versions_can_be_disabled() {
    let broker = Broker::start("accept_protocol_versions 4,5");
    publish(&broker, "-V 311").success();
    publish(&broker, "-V 5").success();
    assert_eq!(publish(&broker, "-V 31").status, 1);
}

#[test]
fn keep_alive_above_the_maximum_is_shortened_or_rejected() {
    let broker = Broker::start("max_keepalive 30");
    publish(&broker, "-k 30").success();
    assert_eq!(publish(&broker, "-k 31").status, 2);
    let told = publish(&broker, "-V 5 -k 31 --trace=json").success();
    assert!(told.errors.contains("\"server_keep_alive\":30"), "{told:?}");
}

#[test]
fn maximum_qos_is_announced_granted_and_enforced() {
    let broker = Broker::start("max_qos 1");
    assert_eq!(receive(&broker, "-t a -q 2 -C 1 -F %q", &["-q 1"]), "1\n");
    // A client of 3.1.1 does not know the limit, so its connection is closed.
    assert_eq!(publish(&broker, "-q 2").status, 7);
    let told = publish(&broker, "-q 2 -V 5");
    assert!(told.errors.contains("QoS not supported"), "{told:?}");
}

#[test]
fn rejects_retained_messages_if_they_are_disabled() {
    let broker = Broker::start("retain_available false");
    assert_eq!(publish(&broker, "-r -q 1").status, 7);
    publish(&broker, "-q 1").success();
}

#[test]
fn connections_above_the_maximum_are_closed() {
    for line in ["max_connections 1", "global_max_connections 1"] {
        let broker = Broker::start(line);
        let mut first = RawClient::connect(broker.address(), 4, "first");
        assert_eq!(publish(&broker, "-q 1").status, 7, "{line}");
        first.ping();
        drop(first);
        broker.wait_for_log("Client first [127");
        publish(&broker, "-q 1").success();
    }
}

#[test]
fn clients_above_the_maximum_are_rejected_with_server_busy() {
    let broker = Broker::start("global_max_clients 1");
    let _first = RawClient::connect(broker.address(), 4, "first");
    assert_eq!(publish(&broker, "").status, 3);
    assert_eq!(publish(&broker, "-V 5").status, 0x89);
}

#[test]
fn configuration_determines_missing_client_identifiers() {
    let broker = Broker::start("auto_id_prefix sensor-");
    let options = format!("{} -t a -m x", broker.options());
    Program::new("rpub").args(&options).run().success();
    broker.wait_for_log(" as sensor-");
    let strict = Broker::start("allow_zero_length_clientid false");
    let options = format!("{} -t a -m x", strict.options());
    assert_eq!(Program::new("rpub").args(&options).run().status, 2);
    let named = Broker::start("use_username_as_clientid true");
    publish(&named, "-u me").success();
    named.wait_for_log(" as me (");
    assert_eq!(publish(&named, "").status, 2);
}

#[test]
fn mount_point_prefixes_the_topics_of_its_clients() {
    let mounted = Broker::start("mount_point house/");
    assert_eq!(
        receive(&mounted, "-t # -v -C 2", &["", "-r -q 1"]),
        "a x\na x\n"
    );
    assert_eq!(receive(&mounted, "-t a -v -C 1", &[]), "a x\n");
    // Another listener of the same broker has no mount point and sees all topics.
    let both = Broker::start("mount_point house/\nlistener 0 127.0.0.2");
    let log = both.wait_for_log("Listening on 127.0.0.2:");
    let other = log.split("Listening on 127.0.0.2:").nth(1).unwrap();
    let other = other.split('.').next().unwrap();
    let subscriber = Program::new("rsub")
        .args(&format!("-h 127.0.0.2 -p {other} -t # -v -C 3 -i other"))
        .start();
    both.wait_for_log("Sending SUBACK to other");
    publish(&both, "").success();
    publish(&both, "-q 2").success();
    let mut dying = both
        .program("rsub")
        .args("-t b -i w --will-topic will --will-payload w")
        .start();
    both.wait_for_log("Sending SUBACK to w");
    dying.kill();
    assert_eq!(
        subscriber.wait().success().text(),
        "house/a x\nhouse/a x\nhouse/will w\n"
    );
}

#[test]
fn messages_above_the_size_limit_are_not_delivered() {
    let broker = Broker::start("message_size_limit 3");
    let published = ["-m four -q 1", "-m 333 -q 1"];
    assert_eq!(receive(&broker, "-t a -C 1", &published), "333\n");
    assert_eq!(publish(&broker, "-m four -q 1 -V 5").status, 0x97);
}

#[test]
fn overlapping_subscriptions_give_one_message_or_one_each() {
    let one = Broker::start("");
    assert_eq!(
        receive(&one, "-t a -t # -t + -C 2 -F %p", &["-m 1", "-m 2"]),
        "1\n2\n"
    );
    let each = Broker::start("allow_duplicate_messages true");
    assert_eq!(
        receive(&each, "-t a -t # -C 3 -F %p", &["-m 1", "-m 2"]),
        "1\n1\n2\n"
    );
}

#[test]
fn upgrade_outgoing_qos_delivers_with_the_qos_of_the_subscription() {
    let broker = Broker::start("upgrade_outgoing_qos true");
    assert_eq!(receive(&broker, "-t a -q 2 -C 1 -F %q", &["-q 0"]), "2\n");
}

#[test]
fn messages_of_qos_0_are_queued_if_configured() {
    for (line, expected) in [("queue_qos0_messages true", "x\nlast\n"), ("", "last\n")] {
        let broker = Broker::start(line);
        let away = || broker.program("rsub").args("-t a -q 1 -c -i away");
        away().args("-E").run().success();
        publish(&broker, "-q 0").success();
        publish(&broker, "-q 1 -m last").success();
        let count = expected.lines().count();
        let got = away().args(&format!("-C {count}")).run().success();
        assert_eq!(got.text(), expected);
    }
}

#[test]
fn queued_bytes_are_limited_as_well_as_messages() {
    let broker = Broker::start("max_queued_bytes 3000");
    let away = || broker.program("rsub").args("-t a -q 1 -c -i away");
    away().args("-E").run().success();
    let payloads = ["1", "2", "3"].map(|digit| digit.repeat(2000));
    for payload in &payloads {
        publish(&broker, &format!("-q 1 -m {payload}")).success();
    }
    broker.wait_for_log("Outgoing messages are being dropped for client away");
    let got = away().args("-C 2").run().success();
    assert_eq!(got.text(), format!("{}\n{}\n", payloads[0], payloads[1]));
}

#[test]
fn bytes_in_flight_are_limited_but_one_message_is_always_sent() {
    let broker = Broker::start("max_inflight_bytes 5");
    let expected = "1234567890\n2234567890\n3\n";
    let published = ["-q 1 -m 1234567890", "-q 1 -m 2234567890", "-q 2 -m 3"];
    assert_eq!(receive(&broker, "-t a -q 2 -C 3", &published), expected);
}

#[test]
fn sessions_without_expiry_end_after_persistent_client_expiration() {
    let broker = Broker::start("persistent_client_expiration 1s\nglobal_max_clients 1");
    let away = || broker.program("rsub").args("-t a -q 1 -c -i away");
    away().args("-E").run().success();
    // While this session exists, no other client may connect.
    let start = std::time::Instant::now();
    while publish(&broker, "-q 1").status != 0 {
        assert!(start.elapsed() < tests::PATIENCE);
    }
    let mut again = RawClient::open(broker.address());
    again.send(b"\x10\x10\x00\x04MQTT\x04\x00\x00\x00\x00\x04away");
    assert_eq!(again.read(4), [0x20, 2, 0, 0]); // Session Present is 0
}

/// One message may be in flight to the subscriber and twenty from the publisher, so the publisher would be much faster.
#[test]
fn publisher_is_slowed_down_so_that_the_queue_of_a_reading_subscriber_does_not_overflow() {
    const MESSAGES: usize = 6000;
    const WINDOW: usize = 20;
    let limits = "max_queued_messages 2000\nmax_inflight_messages 1";
    let broker = Broker::start_silent(Kind::Rbroker, limits);
    let mut subscriber = RawClient::connect(broker.address(), 4, "subscriber");
    subscriber.send(&[0x82, 6, 0, 1, 0, 1, b't', 1]);
    assert_eq!(subscriber.read(5), [0x90, 3, 0, 1, 1]);
    let taking = thread::spawn(move || {
        for _ in 0..MESSAGES {
            let message = subscriber.read(8);
            assert_eq!(message[..5], [0x32, 6, 0, 1, b't'], "a message is missing");
            subscriber.send(&[0x40, 2, message[5], message[6]]);
        }
    });
    let mut publisher = RawClient::connect(broker.address(), 4, "publisher");
    for _ in 0..MESSAGES / WINDOW {
        let messages = (1..=WINDOW as u8).flat_map(|id| [0x32, 6, 0, 1, b't', 0, id, b'x']);
        publisher.send(&messages.collect::<Vec<_>>());
        publisher.read(4 * WINDOW);
    }
    taking.join().expect("every message came");
}
