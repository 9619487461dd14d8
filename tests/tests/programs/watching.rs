//! The lines of `-d` of the clients and of `-v` of the broker.

use tests::{Broker, Program};

const PUBLISHER: &str = "\
Client pub sending CONNECT
Client pub received CONNACK (0)
Client pub sending PUBLISH (d0, q2, r0, m1, 'temp/random', ... (4 bytes))
Client pub received PUBREC (Mid: 1)
Client pub sending PUBREL (m1)
Client pub received PUBCOMP (Mid: 1, RC:0)
Client pub sending DISCONNECT
";

const SUBSCRIBER: &str = "\
Client sub sending CONNECT
Client sub received CONNACK (0)
Client sub sending SUBSCRIBE (Mid: 1, Topic: #, QoS: 2, Options: 0x00)
Client sub received SUBACK
Subscribed (mid: 1): 2
Client sub received PUBLISH (d0, q2, r0, m1, 'temp/random', ... (4 bytes))
Client sub sending PUBREC (m1, rc0)
Client sub received PUBREL (Mid: 1)
Client sub sending PUBCOMP (m1)
Client sub sending DISCONNECT
";

#[test]
fn handshake_of_qos_2_is_traced_by_both_clients_and_the_broker() {
    let broker = Broker::start("");
    let subscriber = broker.program("rsub");
    let subscriber = subscriber.args("-i sub -t # -v -q 2 -C 1 -d").start();
    subscriber.wait_for_error("Subscribed");
    let publisher = broker.program("rpub");
    let published = publisher
        .args("-i pub -t temp/random -m 23.0 -q 2 -d")
        .run()
        .success();
    assert_eq!(published.errors, PUBLISHER);
    assert_eq!(published.output, b"");
    let subscribed = subscriber.wait().success();
    assert_eq!(subscribed.errors, SUBSCRIBER);
    assert_eq!(subscribed.text(), "temp/random 23.0\n");

    let log = broker.wait_for_log("Client sub [");
    // The lines about each client must be complete and in order.
    let lines = |client: &str| -> Vec<String> {
        let of_client = |line: &&str| line.split(' ').any(|word| word == client);
        let texts = log
            .lines()
            .filter_map(|line| line.split_once(": ").map(|(_, text)| text));
        texts
            .filter(of_client)
            .filter(|text| text.contains("ing PUB") || text.contains("ived PUB"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        lines("pub"),
        [
            "Received PUBLISH from pub (d0, q2, r0, m1, 'temp/random', ... (4 bytes))",
            "Sending PUBREC to pub (m1, rc0)",
            "Received PUBREL from pub (Mid: 1)",
            "Sending PUBCOMP to pub (m1)",
        ]
    );
    assert_eq!(
        lines("sub"),
        [
            "Sending PUBLISH to sub (d0, q2, r0, m1, 'temp/random', ... (4 bytes))",
            "Received PUBREC from sub (Mid: 1)",
            "Sending PUBREL to sub (m1)",
            "Received PUBCOMP from sub (Mid: 1, RC:0)",
        ]
    );
    for line in [
        "New client connected from 127.0.0.1:",
        " as pub (p4, c1, k60).",
        "Received SUBSCRIBE from sub",
        "\t# (QoS 2)",
        "sub 2 #",
        "Sending SUBACK to sub",
        "Received DISCONNECT from pub",
    ] {
        assert!(log.contains(line), "{line:?} is missing in {log}");
    }
}

#[test]
#[cfg(unix)]
fn debug_lines_go_to_standard_output_under_a_name_of_mosquitto() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("mosquitto_pub");
    std::os::unix::fs::symlink(tests::programs().join("rpub"), &link).unwrap();
    let arguments = "-i pub -t temp/random -m 23.0 -q 2 -d";
    let finished = Program::at(link)
        .args(&broker.options())
        .args(arguments)
        .run()
        .success();
    assert_eq!(
        (finished.text().as_str(), finished.errors.as_str()),
        (PUBLISHER, "")
    );
}

#[test]
fn broker_prints_which_hosts_can_reach_its_listeners() {
    let broker = Broker::start("");
    broker.wait_for_log("Every program on this machine can use the broker without a password.");
    let local = Program::new("rbroker").args("-p 0").start();
    let log = local.wait_for_error("running.");
    assert!(
        log.contains("only programs on this machine can connect"),
        "{log}"
    );
    assert!(
        log.contains("'listener 1883' and 'allow_anonymous true'"),
        "{log}"
    );
    assert!(!log.contains("0.0.0.0"), "{log}");
}

#[test]
#[cfg(unix)]
fn broker_ends_with_success_after_a_signal() {
    let broker = Broker::start("");
    let subscriber = broker.program("rsub").args("-t x -V 5 -d").start();
    subscriber.wait_for_error("Subscribed");
    broker.running.signal("TERM");
    subscriber.wait_for_error("Received DISCONNECT (139)");
    let Broker { running, .. } = broker;
    assert_eq!(running.wait().status, 0);
}
