//! Tests of the lines of a trace.

use mqtt_client::session::{Direction, Observed};
use mqtt_codec::*;
use serde_json::Value;

use super::*;

fn line(role: Role, direction: Direction, form: Form, packet: &PacketRef<'_>) -> String {
    let observed = Observed {
        role,
        direction,
        client_identifier: "c",
        version: ProtocolVersion::V5_0,
        packet,
    };
    let rung = Rung {
        seconds: 1.25,
        program: "rpub",
        peer: "host:1883",
        observed: &observed,
        fields: fields(packet, ProtocolVersion::V5_0),
    };
    match form {
        Form::Ladder => rung.ladder(false, None),
        Form::Json => rung.json(),
    }
}

#[test]
fn trace_has_the_client_on_the_left_and_the_server_on_the_right() {
    let ack = PacketRef::Pubrec(Ack::new(PacketIdentifier::FIRST, ReasonCode::Success));
    assert_eq!(
        line(Role::Client, Direction::Received, Form::Ladder, &ack),
        " 1.250000  rpub ◀─── PUBREC ───── host:1883  packet identifier 1\n"
    );
    assert_eq!(
        line(Role::Server, Direction::Received, Form::Ladder, &ack),
        " 1.250000  c ──── PUBREC ────▶ rpub  packet identifier 1\n"
    );
}

/// Returns the lines of a PUBLISH on a terminal of this width.
fn on_terminal(client: &str, peer: &str, payload: &str, columns: usize) -> Vec<String> {
    let message = Message::new(TopicName::new("temp/random").unwrap(), payload.to_owned());
    let packet = PacketRef::Publish(message.publish(Delivery::AtMostOnce));
    let version = ProtocolVersion::V3_1_1;
    let observed = Observed {
        role: Role::Server,
        direction: Direction::Received,
        client_identifier: client,
        version,
        packet: &packet,
    };
    let rung = Rung {
        seconds: 1.25,
        program: "rbroker",
        peer,
        observed: &observed,
        fields: fields(&packet, version),
    };
    let text = rung.ladder(false, Some(columns));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn fields_are_on_separate_lines_if_the_terminal_is_narrow() {
    let rung = " 1.250000  c ──── PUBLISH ───▶ rbroker";
    let fields = "QoS 0, topic name temp/random, payload length 4, payload 23.0";
    let whole = format!("{rung}  {fields}");
    let width = whole.chars().count();
    assert_eq!(on_terminal("c", "", "23.0", width), [whole]);
    assert_eq!(
        on_terminal("c", "", "23.0", 80),
        [rung.to_owned(), format!("           {fields}")]
    );
    assert_eq!(
        on_terminal("c", "", "23.0", 50),
        [
            rung,
            "           QoS 0, topic name temp/random,",
            "           payload length 4, payload 23.0"
        ]
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let long = "x".repeat(200);
    for (client, peer) in [("c", "p"), ("c", &*long), (&*long, "p"), (&*long, &*long)] {
        for columns in [50, 80, 120, 1000] {
            let lines = on_terminal(client, peer, &long, columns);
            for line in &lines {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
            assert!(lines[0].contains("PUBLISH ───▶"), "{lines:?}");
        }
    }
}

#[test]
fn trace_shows_topic_payload_and_properties_of_a_message() {
    let message = Message {
        retain: true,
        ..Message::new(
            TopicName::new("a\u{1b}b\u{7f}\u{202e}").unwrap(),
            &b"\xff1"[..],
        )
    };
    let delivery = Delivery::AtLeastOnce {
        packet_identifier: PacketIdentifier::FIRST,
        dup: false,
    };
    let publish = PacketRef::Publish(message.publish(delivery));
    let ladder = line(Role::Client, Direction::Sending, Form::Ladder, &publish);
    let expected = "QoS 1, packet identifier 1, retain, topic name a\\u{1b}b\\u{7f}\\u{202e}, payload length 2, payload \u{fffd}1\n";
    assert!(ladder.ends_with(expected), "{ladder}");
    let json = line(Role::Client, Direction::Sending, Form::Json, &publish);
    assert!(json.starts_with("{\"seconds\":1.25,\"direction\":\"sent\",\"client_identifier\":\"c\",\"packet\":\"PUBLISH\",\"qos\":1,"), "{json}");
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["topic_name"], "a\u{1b}b\u{7f}\u{202e}");
    assert!(json.contains("a\\u001bb\\u007f\\u202e"), "{json}");
    assert_eq!(value["dup"], false);
}
