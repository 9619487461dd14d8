use super::*;

use mqtt_codec::{
    Ack, AckProperties, Connack, ConnackProperties, Decoder, Disconnect, Message,
    MessageProperties, PacketIdentifier, Property, QoS, RetainHandling, Suback, Subscribe,
    SubscribeProperties, Subscription, SubscriptionOptions, TopicFilter, TopicName, UserProperty,
    Will,
};

const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V3_1,
    ProtocolVersion::V3_1_1,
    ProtocolVersion::V5_0,
];

fn user_properties() -> Vec<UserProperty> {
    vec![UserProperty {
        name: "n".into(),
        value: "v".into(),
    }]
}

fn ack_properties() -> AckProperties {
    AckProperties {
        reason_string: Some("why".into()),
        user_properties: user_properties(),
    }
}

/// Returns packets as a broker has them in memory, with every field that only 5.0 can encode.
fn rich_packets() -> Vec<PacketRef<'static>> {
    let packet_identifier = PacketIdentifier::FIRST;
    let ack = || Ack {
        packet_identifier,
        reason_code: ReasonCode::NoMatchingSubscribers,
        properties: ack_properties(),
    };
    let suback = || Suback {
        packet_identifier,
        reason_codes: vec![ReasonCode::Success, ReasonCode::NotAuthorized],
        properties: ack_properties(),
    };
    let subscription = Subscription {
        topic_filter: TopicFilter::new("a").unwrap(),
        options: SubscriptionOptions {
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
            ..SubscriptionOptions::new(QoS::AtLeastOnce)
        },
    };
    let mut disconnect = Disconnect::new(ReasonCode::ServerShuttingDown);
    disconnect.properties.reason_string = Some("why".into());
    vec![
        PacketRef::Connack(Box::new(Connack {
            session_present: true,
            reason_code: ReasonCode::Success,
            properties: ConnackProperties {
                receive_maximum: std::num::NonZeroU16::new(20),
                assigned_client_identifier: Some("i".into()),
                user_properties: user_properties(),
                ..ConnackProperties::default()
            },
        })),
        PacketRef::Puback(ack()),
        PacketRef::Pubrec(ack()),
        PacketRef::Suback(suback()),
        PacketRef::Unsuback(suback()),
        PacketRef::Subscribe(Subscribe {
            packet_identifier,
            subscriptions: vec![subscription],
            properties: SubscribeProperties {
                user_properties: user_properties(),
                ..SubscribeProperties::default()
            },
        }),
        PacketRef::Disconnect(Box::new(disconnect)),
    ]
}

/// A packet that was encoded and decoded has exactly the fields on the wire, so its list must equal the list of the
/// original packet.
#[test]
fn shows_no_field_that_the_version_does_not_carry() {
    for version in VERSIONS {
        for packet in rich_packets() {
            let mut bytes = Vec::new();
            packet.encode(version, u32::MAX, &mut bytes).unwrap();
            // Only in 5.0 does a server send DISCONNECT.
            let is_from_client = match packet {
                PacketRef::Subscribe(_) => true,
                PacketRef::Disconnect(_) => version != ProtocolVersion::V5_0,
                _ => false,
            };
            let mut decoder = if is_from_client {
                Decoder::server(u32::MAX)
            } else {
                Decoder::client(version, u32::MAX)
            };
            let mut input = Vec::new();
            if is_from_client {
                // A decoder of a server learns the version from CONNECT.
                let connect = PacketRef::Connect(Box::new(Connect::new(version, "c")));
                connect.encode(version, u32::MAX, &mut input).unwrap();
            }
            input.extend(bytes);
            let mut rest = &input[..];
            if is_from_client {
                decoder.decode(&mut rest).unwrap();
            }
            let received = decoder.decode(&mut rest).unwrap().unwrap();
            let expected = fields(&received, version);
            assert_eq!(fields(&packet, version), expected, "{version:?} {packet:?}");
        }
    }
}

#[test]
fn shows_a_message_with_properties_to_5_0_only() {
    let topic_name = TopicName::new("t").unwrap();
    let mut will = Will::new(Message::new(topic_name, "x"), QoS::AtMostOnce);
    will.will_delay_interval = Some(7);
    for version in VERSIONS {
        let mut connect = Connect::new(version, "c");
        connect.will = Some(will.clone());
        connect.properties.session_expiry_interval = Some(1);
        let shown = fields(&PacketRef::Connect(Box::new(connect)), version);
        let is_5 = version == ProtocolVersion::V5_0;
        let has = |name: &str| shown.iter().any(|(field, _)| *field == name);
        let mut properties = MessageProperties::default();
        properties.push(Property::ContentType("text")).unwrap();
        let mut message = Message::new(TopicName::new("t").unwrap(), "x");
        message.properties = Some(Box::new(properties));
        let publish = message.publish(Delivery::AtMostOnce);
        let publish = fields(&PacketRef::Publish(publish), version);
        let has_type = publish.iter().any(|(field, _)| *field == "content_type");
        assert_eq!(has_type, is_5);
        assert_eq!(has("clean_start"), is_5);
        assert_eq!(has("clean_session"), !is_5);
        assert_eq!(has("session_expiry_interval"), is_5);
        let (_, will) = shown.iter().find(|(field, _)| *field == "will").unwrap();
        assert_eq!(will.get("will_delay_interval").is_some(), is_5);
    }
}
