//! The messages that `rrr` accepts as the response, and those that it ignores.

use tests::{Broker, FakeServer, Kind, Program, Script, has_mosquitto};

/// Returns the brokers that are installed.
pub(crate) fn kinds() -> Vec<Kind> {
    let mosquitto = has_mosquitto("requests and responses").then_some(Kind::Mosquitto);
    [Kind::Rbroker].into_iter().chain(mosquitto).collect()
}

/// A retained message on the response topic is older than the request. `rrr` does not wait for the end of its QoS 2
/// exchange: this server never answers PUBREC.
#[test]
fn retained_message_from_before_is_not_the_response() {
    for (version, accept, suback, publish) in [
        (
            "311",
            &b"\x20\x02\0\0"[..],
            &b"\x90\x03\0\x01\x02"[..],
            &b"\0\x01b"[..],
        ),
        ("5", b"\x20\x03\0\0\0", b"\x90\x04\0\x01\0\x02", b"\0\x01b"),
    ] {
        let message = |first: u8, identifier: u8, payload: &[u8]| {
            let properties: &[u8] = if version == "5" { b"\0" } else { b"" };
            let body = [publish, &[0, identifier], properties, payload].concat();
            [&[first, body.len() as u8], &body[..]].concat()
        };
        let old = [suback, &message(0x35, 7, b"old")].concat();
        let response = message(0x34, 8, b"new");
        // The lengths of CONNECT, SUBSCRIBE, and the request with the PUBREC for the old message.
        let counts = if version == "5" {
            [18, 9, 11 + 4]
        } else {
            [14, 8, 6 + 4]
        };
        let script: Script<'_> = &[
            (counts[0], accept),
            (counts[1], &old),
            (counts[2], &response),
        ];
        let server = FakeServer::start(&[script], false);
        let command = server.program("rrr");
        let start = std::time::Instant::now();
        let finished = command.args(&format!("-V {version} -t a -e b -m x")).run();
        assert_eq!(finished.success().text(), "new\n");
        assert!(start.elapsed().as_secs() < 4, "it waits for no PUBREL");
        let received = server.received();
        assert!(
            received[0].ends_with(b"\x50\x02\0\x08\xE0\0"),
            "{received:?}"
        );
    }
}

/// Without `-e` rrr has an inbox: two runs have different topics and correlation data, which nobody can guess.
#[test]
fn without_a_response_topic_each_run_has_its_own() {
    for kind in kinds() {
        let broker = Broker::start_kind(kind, "");
        let service = broker.program("rsub");
        let service = service.args("-V 5 -t a -C 2 -F %R|%D|%p -d").start();
        service.wait_for_error("received SUBACK");
        for _ in 0..2 {
            let asking = broker.program("rrr").args("-t a -m x -q 1 -d").start();
            asking.wait_for_error("received PUBACK");
            asking.signal("TERM");
            let finished = asking.wait();
            // A script that waits for a response must not take the end by a signal for a success.
            assert_eq!(finished.status, 143, "{finished:?}");
            assert!(
                finished.errors.contains("Interrupted: 0 of 1 response."),
                "{finished:?}"
            );
        }
        let text = service.wait().success().text();
        let fields: Vec<Vec<_>> = text.lines().map(|line| line.split('|').collect()).collect();
        assert_ne!(fields[0][0], fields[1][0], "{kind:?}: {text}");
        assert_ne!(fields[0][1], fields[1][1], "{kind:?}: {text}");
        for topic in [fields[0][0], fields[1][0]] {
            let (prefix, random) = topic.rsplit_once('/').unwrap();
            assert!(prefix.starts_with("response"), "{text}");
            assert_eq!(random.len(), 32, "{text}");
        }
    }
}

#[test]
fn inbox_is_below_the_response_information_of_the_broker() {
    let accept = b"\x20\x0A\0\0\x07\x1A\0\x04mine";
    // CONNECT has two bytes more than usual, Request Response Information. The topic has 5 + 32 bytes.
    let server = FakeServer::start(&[&[(20, accept), (8 + 37, b"")]], true);
    server.program("rrr").args("-t a -m x").run();
    let received = server.received();
    let contains = |part: &[u8]| received[0].windows(part.len()).any(|bytes| bytes == part);
    assert!(contains(b"\x19\x01"), "{received:?}");
    assert!(contains(b"\0\x25mine/"), "{received:?}");
}

#[test]
fn a_rejected_inbox_is_named_in_the_error() {
    // SUBSCRIBE has 8 bytes and the topic, which has 9 + 32 bytes.
    let script: Script<'_> = &[(20, b"\x20\x03\0\0\0"), (8 + 41, b"\x90\x04\0\x01\0\x87")];
    let server = FakeServer::start(&[script], false);
    let finished = server.program("rrr").args("-t a -m x").run();
    assert_eq!(finished.status, 0x87, "{finished:?}");
    let hint = "rrr has chosen the response topic 'response/";
    assert!(finished.errors.contains(hint), "{finished:?}");
}

#[test]
fn a_message_that_is_not_the_response_is_ignored_and_counted() {
    let foreign = "-V 5 -t b -m foreign -q 1 -D publish correlation-data other";
    for kind in kinds() {
        let broker = Broker::start_kind(kind, "");
        broker.run("rpub", "-t b -m old -r -q 1");
        let ask = || {
            let asking = broker.program("rrr").args("-t a -e b -m x -q 1");
            let asking = asking.args("--gather 1 -d --report -").start();
            asking.wait_for_error("received PUBACK");
            broker.run("rpub", foreign);
            asking.wait_for_errors("received PUBLISH", 2);
            asking
        };
        let asking = ask();
        asking.signal("TERM");
        let finished = asking.wait();
        assert_eq!(finished.status, 143, "{finished:?}");
        let line = "Interrupted: 0 of 1 response; ignored 1 message older than the request and 1 with other \
                    correlation data.";
        assert!(finished.errors.contains(line), "{finished:?}");
        let counts = r#""messages":{"expected":1,"failed":0,"ignored_older":1,"ignored_other_correlation_data":1,"received":0}"#;
        assert!(finished.text().contains(counts), "{finished:?}");
        // A service of few lines does not copy the correlation data.
        let asking = ask();
        broker.run("rpub", "-t b -m right -q 1");
        let text = asking.wait().success().text();
        assert!(text.starts_with("right\n"), "{text}");
        // Without options of its own, rrr takes the first new message, as mosquitto_rr does.
        let asking = broker.program("rrr").args("-t a -e b -m x -q 1 -d").start();
        asking.wait_for_error("received PUBACK");
        broker.run("rpub", foreign);
        let text = asking.wait().success().text();
        assert!(text.ends_with("foreign\n"), "{text}");
    }
}

#[test]
fn before_5_0_a_request_needs_a_response_topic_and_gathering_warns() {
    let finished = Program::new("rrr").args("-V 311 -t a -m x").run();
    assert_eq!(finished.status, 1, "{finished:?}");
    assert!(finished.errors.contains("Without -e, rrr needs MQTT 5.0"));
    let broker = Broker::start("");
    let asking = broker.program("rrr");
    let finished = asking
        .args("-V 311 -t a -e b -m x --gather-for 1ms --exit-status sysexits")
        .run();
    assert_eq!(finished.status, 75, "{finished:?}");
    assert!(finished.errors.contains("no correlation data"));
    assert!(finished.errors.ends_with("Timed out\n0 responses.\n"));
}

#[test]
fn rsub_names_the_messages_that_it_did_not_get() {
    let messages = b"\x90\x03\0\x01\0\x30\x04\0\x01a1\x30\x04\0\x01a2";
    let accept = b"\x20\x02\0\0";
    let server = FakeServer::start(&[&[(14, accept), (8, messages)]], true);
    let subscriber = server.program("rsub");
    let finished = subscriber.args("-t a -C 3 --reconnect-max 0").run();
    assert_eq!(finished.status, 7, "{finished:?}");
    assert_eq!(finished.text(), "1\n2\n");
    let line = "\n2 of 3 messages received.\n";
    assert!(finished.errors.ends_with(line), "{finished:?}");
}
