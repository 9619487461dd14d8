//! Tests of the feature `serde`: owned types survive a round trip through JSON, and invalid values are rejected.

use mqtt_codec::*;

fn round_trip(packet: &Packet) -> String {
    let json = serde_json::to_string(packet).unwrap();
    let again: Packet = serde_json::from_str(&json).unwrap();
    assert_eq!(&again, packet, "{json}");
    json
}

fn properties() -> [Property<'static>; 6] {
    [
        Property::User("name \"quoted\"", "välue\n"),
        Property::PayloadFormatIndicator(true),
        Property::MessageExpiryInterval(9),
        Property::ContentType("text/plain"),
        Property::ResponseTopic("answers"),
        Property::CorrelationData(&[0, 255]),
    ]
}

#[test]
fn publish_survives_a_round_trip() {
    let packet_identifier = PacketIdentifier::new(7).unwrap();
    let mut packet_properties = PublishProperties::new(properties()).unwrap();
    for property in [
        Property::TopicAlias(TopicAlias::FIRST),
        Property::SubscriptionIdentifier(SubscriptionIdentifier::new(3).unwrap()),
    ] {
        packet_properties.push(property).unwrap();
    }
    let publish = Publish {
        delivery: Delivery::new(QoS::ExactlyOnce, packet_identifier, true),
        retain: true,
        topic_name: "a/b".into(),
        payload: vec![0, 1, 255].into(),
        properties: packet_properties,
    };
    let json = round_trip(&Packet::Publish(publish));
    assert!(
        json.contains(r#""packet_identifier":7,"dup":true"#),
        "{json}"
    );
    assert!(json.contains(r#"{"TopicAlias":1}"#), "{json}");
}

#[test]
fn other_packets_survive_a_round_trip() {
    let mut message = Message::new(TopicName::new("will").unwrap(), "gone");
    message.properties = Some(Box::new(MessageProperties::new(properties()).unwrap()));
    let mut connect = Connect::new(ProtocolVersion::V5_0, "client");
    connect.will = Some(Will::new(message, QoS::AtLeastOnce));
    connect.password = Some(vec![0, 255].into());
    connect.properties.user_properties = vec![("name", "value").into()];
    round_trip(&Packet::Connect(Box::new(connect)));
    let ack = Ack::new(PacketIdentifier::LAST, ReasonCode::QuotaExceeded);
    let json = round_trip(&Packet::Pubrec(ack));
    assert!(json.contains(r#""reason_code":151"#), "{json}");
    round_trip(&Packet::Pingreq);
}

#[test]
fn properties_may_be_left_out() {
    let ack: Ack =
        serde_json::from_str(r#"{"packet_identifier":1,"reason_code":0,"properties":{}}"#).unwrap();
    assert_eq!(ack, Ack::new(PacketIdentifier::FIRST, ReasonCode::Success));
}

#[test]
fn rejects_invalid_values() {
    fn error<T: serde::de::DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
        serde_json::from_str::<T>(json).unwrap_err().to_string()
    }
    let table = [
        (error::<PacketIdentifier>("0"), "from 1 to 65535"),
        (error::<TopicAlias>("0"), "from 1 to 65535"),
        (
            error::<SubscriptionIdentifier>("268435456"),
            "from 1 to 268435455",
        ),
        (
            error::<QoS>("3"),
            "invalid value 3: expected a QoS of 0, 1 or 2",
        ),
        (
            error::<ReasonCode>("3"),
            "a reason code that MQTT 5.0 defines",
        ),
        (
            error::<ProtocolVersion>("6"),
            "a protocol level of 3, 4 or 5",
        ),
        (error::<TopicName>("\"a/+\""), "invalid topic"),
        (error::<TopicFilter>("\"a/#/b\""), "invalid topic"),
        (
            error::<MessageProperties>(r#"[{"TopicAlias":1}]"#),
            "the property is not allowed",
        ),
        (
            error::<PublishProperties>(r#"[{"ContentType":"a"},{"ContentType":"b"}]"#),
            "is given twice",
        ),
    ];
    for (error, expected) in table {
        assert!(error.contains(expected), "{error}");
    }
}
