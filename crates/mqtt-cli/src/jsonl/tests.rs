//! Tests that a message is unchanged after it was written and read, and that rpub reads the lines of mosquitto_sub.

use jiff::Timestamp;
use mqtt_codec::*;
use proptest::prelude::*;

use super::*;

fn line(message: &Message, delivery: Delivery) -> Vec<u8> {
    let mut out = Vec::new();
    let time = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
    write(&message.publish(delivery), time, false, &mut out);
    out
}

/// Text that MQTT allows in a property or topic.
fn text() -> impl Strategy<Value = String> {
    let allowed = |text: &String| disallowed_character(text).is_none();
    "\\PC{0,12}".prop_filter("characters of MQTT", allowed)
}

/// A valid topic name.
fn topic() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("t{}", text.replace(['+', '#'], "_")))
}

fn message() -> impl Strategy<Value = (Message, u8)> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "\\PC{0,20}|[\\x00-\\x1f\"\\\\]{0,9}".prop_map(String::into_bytes),
    ];
    let users = proptest::collection::vec((text(), text()), 0..4);
    let optional = (
        proptest::option::of(any::<bool>()),
        proptest::option::of(any::<u32>()),
        proptest::option::of(text()),
        proptest::option::of(topic()),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
    );
    let parts = (
        topic(),
        payload,
        any::<bool>(),
        0..3_u8,
        users,
        optional,
        any::<bool>(),
    );
    parts.prop_map(|(topic, payload, retain, qos, users, optional, last)| {
        let (format, expiry, content, response, correlation) = optional;
        let mut list = Vec::new();
        list.extend(format.map(Property::PayloadFormatIndicator));
        list.extend(correlation.as_deref().map(Property::CorrelationData));
        list.extend(
            users
                .iter()
                .map(|(name, value)| Property::User(name, value)),
        );
        list.extend(expiry.map(Property::MessageExpiryInterval));
        list.extend(content.as_deref().map(Property::ContentType));
        list.extend(response.as_deref().map(Property::ResponseTopic));
        if last {
            list.reverse(); // the order is a part of the message
        }
        let mut message = Message::new(TopicName::new(&topic).unwrap(), payload);
        message.retain = retain;
        if !list.is_empty() {
            message.properties = Some(Box::new(MessageProperties::new(list).unwrap()));
        }
        (message, qos)
    })
}

proptest! {
    #[test]
    fn every_message_is_the_same_after_writing_and_reading((message, qos) in message()) {
        let qos = QoS::from_value(qos).unwrap();
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            qos => Delivery::first(qos, PacketIdentifier::FIRST),
        };
        let line = line(&message, delivery);
        prop_assert!(!line.contains(&b'\n'));
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        prop_assert!(value.get("payload").is_some() != value.get("payload_base64").is_some());
        let read = read(&line).unwrap();
        prop_assert_eq!(read.topic_name, Some(message.topic_name.clone()));
        prop_assert_eq!(&read.payload[..], &message.payload[..]);
        prop_assert_eq!((read.qos, read.retain), (Some(qos), Some(message.retain)));
        let properties = message.properties.as_deref().cloned().unwrap_or_default();
        prop_assert_eq!(read.properties.unwrap_or_default(), properties);
    }

    #[test]
    fn any_input_is_decoded_or_rejected(input in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&input);
    }

    #[test]
    fn any_text_in_any_field_is_decoded_or_rejected(text in "[\\[\\]{}\":,a-z0-9_.-]{0,30}") {
        let _ = read(format!("{{\"topic\":\"a\",\"properties\":{text}}}").as_bytes());
    }
}

#[test]
fn json_line_has_the_keys_of_the_schema() {
    let mut message = Message::new(TopicName::new("a/b").unwrap(), "21.5");
    let properties = [
        Property::ContentType("text/plain"),
        Property::User("k", "v"),
        Property::CorrelationData(b"\xff"),
    ];
    message.properties = Some(Box::new(MessageProperties::new(properties).unwrap()));
    let delivery = Delivery::first(QoS::AtLeastOnce, PacketIdentifier::FIRST);
    let expected = r#"{"topic":"a/b","payload":"21.5","qos":1,"retain":false,"dup":false,"packet_identifier":1,"time":"2023-11-14T22:13:20.123456Z","properties":[{"content_type":"text/plain"},{"user_property":["k","v"]},{"correlation_data_base64":"/w=="}]}"#;
    assert_eq!(
        String::from_utf8(line(&message, delivery)).unwrap(),
        expected
    );
    let message = Message::new(TopicName::new("a").unwrap(), &b"\xff\xfe\x00"[..]);
    let expected = r#"{"topic":"a","payload_base64":"//4A","qos":0,"retain":false,"time":"2023-11-14T22:13:20.123456Z"}"#;
    let line = line(&message, Delivery::AtMostOnce);
    assert_eq!(String::from_utf8(line).unwrap(), expected);
}

#[test]
fn reads_lines_of_mosquitto_sub() {
    let line = br#"{"tst":"2026-11-24T02:58:34.574624+0000","topic":"j/x","qos":1,"retain":true,"payloadlen":5,"mid":1,"properties":{"content-type":"text/plain","correlation-data":"\ufffd","correlation-data-hex":"ff","user-properties":[{"a":"b"},{"a":"c"}],"topic-alias":3},"payload":"hello"}"#;
    let message = read(line).unwrap();
    assert_eq!(message.retain, Some(true));
    assert_eq!(message.payload, b"hello");
    assert_eq!(message.qos, Some(QoS::AtLeastOnce));
    let expected = MessageProperties::new([
        Property::ContentType("text/plain"),
        Property::CorrelationData(b"\xff"),
        Property::User("a", "b"),
        Property::User("a", "c"),
    ]);
    assert_eq!(message.properties, expected.ok());
    let message = read(br#"{"topic":"a","payload":"\ufffd","payloadhex":"ff00"}"#).unwrap();
    assert_eq!(message.payload, b"\xff\x00");
    assert_eq!(
        read(br#"{"topic":"a","payload":null}"#).unwrap().payload,
        b""
    );
}

#[test]
fn names_the_reason_of_a_rejection() {
    for (line, reason) in [
        ("", "EOF while parsing a value"),
        ("[]", "expected an object"),
        (r#"{"topic":"a/+"}"#, "the topic must have"),
        (r#"{"topic":"a","qos":3}"#, "qos must be 0, 1 or 2"),
        (r#"{"topic":"a","payload":1}"#, "expected"),
        (
            r#"{"topic":"a","payload":"a","payload_base64":""}"#,
            "exclude each other",
        ),
        (
            r#"{"topic":"a","payload_base64":"!"}"#,
            "payload_base64 is malformed",
        ),
        (
            r#"{"topic":"a","properties":[{"content_type":"a"},{"content_type":"b"}]}"#,
            "the properties are invalid",
        ),
        (r#"{"topic":"a"} x"#, "trailing characters at column 15"),
    ] {
        let error = read(line.as_bytes()).unwrap_err();
        assert!(error.contains(reason), "{line}: {error}");
    }
}
