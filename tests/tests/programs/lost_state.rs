//! A publisher with a session is killed with messages in flight. Its next run has only the client identifier.

use std::collections::BTreeMap;

use tests::{Broker, Kind, RawClient, has_mosquitto};

/// The number of packet identifiers that the broker holds for the run that was killed.
const HELD: u16 = 20;

/// Number of lines of the next run, so many that a client with a session uses each packet identifier more than once.
const LINES: usize = 600;

/// Connects as the client `x`, without a clean start.
fn connect(broker: &Broker, version: u8) -> RawClient {
    let mut client = RawClient::open(broker.address());
    let connack = match version {
        5 => {
            // The Session Expiry Interval is an hour.
            client.send(b"\x10\x13\0\x04MQTT\x05\0\0\x3C\x05\x11\0\0\x0E\x10\0\x01x");
            let header = client.read(2);
            client.read(header[1].into());
            header
        }
        _ => {
            client.send(b"\x10\x0D\0\x04MQTT\x04\0\0\x3C\0\x01x");
            client.read(4)
        }
    };
    assert_eq!(connack[0], 0x20);
    client
}

/// Leaves a session with a subscription, and with QoS 2 messages for which no PUBREL was sent, like a process that is
/// killed.
fn leave_held(broker: &Broker, version: u8) {
    let mut client = connect(broker, version);
    let no_properties: &[u8] = if version == 5 { b"\0" } else { b"" };
    let length = 6 + no_properties.len() as u8;
    client.send(&[&[0x82, length, 0, 200], no_properties, b"\0\x01w\x01"].concat());
    assert_eq!(client.read(5 + no_properties.len())[0], 0x90);
    for identifier in 1..=HELD {
        let payload = format!("held {identifier}");
        let length = 5 + no_properties.len() + payload.len();
        let mut packet = vec![0x34, length as u8, 0, 1, b't'];
        packet.extend(identifier.to_be_bytes());
        packet.extend(no_properties);
        packet.extend(payload.as_bytes());
        client.send(&packet);
        let header = client.read(2);
        assert_eq!(header[0], 0x50, "PUBREC");
        client.read(header[1].into());
    }
}

/// Returns how often each payload occurs in these lines.
fn counted(lines: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines.lines() {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

fn check(kind: Kind, version: u8, qos: u8) {
    let broker = &Broker::start_kind(kind, "");
    leave_held(broker, version);
    let subscriber = broker.program("rsub");
    let count = LINES + usize::from(HELD);
    let subscriber = subscriber
        .args(&format!("-i s -t t -t end -q 2 -C {count}"))
        .start();
    broker.wait_for_log("Sending SUBACK to s");
    let publisher = broker.program("rpub");
    publisher.args("-t w -m waiting -q 1").run().success();

    let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    let name = if version == 5 { "5" } else { "311" };
    let arguments = format!("-c -i x -V {name} -q {qos} -t t -l");
    let publisher = broker.program("rpub");
    let expiry = if version == 5 { "-x 3600" } else { "" };
    let publisher = publisher.args(&arguments).args(expiry);
    let finished = publisher.input(lines.clone()).run().success();
    assert!(finished.errors.is_empty(), "{finished:?}");

    // rbroker delivers a message at PUBLISH, so it has delivered these before. mosquitto delivers a message at PUBREL.
    let printed = match kind {
        Kind::Mosquitto => subscriber.wait().success().text(),
        Kind::Rbroker => {
            let end = broker.program("rpub");
            end.args("-t end -q 2 --repeat 20 -m end").run().success();
            subscriber.wait().success().text().replace("end\n", "")
        }
    };
    let mut expected = counted(&lines);
    let held: String = (1..=HELD)
        .map(|number| format!("held {number}\n"))
        .collect();
    if kind == Kind::Mosquitto {
        expected.extend(counted(&held));
    }
    assert_eq!(counted(&printed), expected, "MQTT {version}, QoS {qos}");

    // The session still exists, with the message that waits for its subscription.
    let mut client = connect(broker, version);
    let publish = client.read(14 + usize::from(version == 5));
    assert!(publish.ends_with(b"waiting"), "{publish:?}");
    client.send(&[0xE0, 0]);
}

#[test]
fn new_run_loses_no_message_if_the_broker_still_has_packet_identifiers_in_use() {
    let test = "new_run_loses_no_message_if_the_broker_still_has_packet_identifiers_in_use";
    for (version, qos) in [(4, 2), (5, 2), (4, 1), (5, 1)] {
        check(Kind::Rbroker, version, qos);
        if has_mosquitto(test) {
            check(Kind::Mosquitto, version, qos);
        }
    }
}
