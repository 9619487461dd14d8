//! The packets that all cases use, so that all codecs handle the same bytes.

use mqtt_codec::*;

/// Returns a PUBLISH of 3.1.1 with QoS 0 and a payload of 64 bytes.
pub fn publish_v3() -> Vec<u8> {
    encode(
        ProtocolVersion::V3_1_1,
        &PacketRef::Publish(message(false).publish(Delivery::AtMostOnce)),
    )
}

/// Returns the same PUBLISH in 5.0, with three properties.
pub fn publish_v5() -> Vec<u8> {
    encode(
        ProtocolVersion::V5_0,
        &PacketRef::Publish(message(true).publish(Delivery::AtMostOnce)),
    )
}

pub const TOPIC: &str = "bench/topic/1";

/// The payload of all messages.
pub const PAYLOAD: &[u8] = &[b'x'; 64];

/// Returns a message with three properties, or with none.
pub fn message(with_properties: bool) -> Message {
    let mut message = Message::new(TopicName::new(TOPIC).expect("a topic name"), PAYLOAD);
    if with_properties {
        let properties = MessageProperties::new([
            Property::MessageExpiryInterval(3600),
            Property::ContentType("text/plain"),
            Property::User("unit", "celsius"),
        ]);
        message.properties = Some(Box::new(properties.expect("valid")));
    }
    message
}

/// Returns a CONNECT with user name and password, as most clients send it.
pub fn connect(version: ProtocolVersion) -> Vec<u8> {
    let mut connect = Connect::new(version, "client-0123456789");
    connect.user_name = Some("user".into());
    connect.password = Some(b"secret".to_vec().into());
    encode(version, &PacketRef::Connect(Box::new(connect)))
}

pub fn subscribe(version: ProtocolVersion) -> Vec<u8> {
    let subscription = Subscription {
        topic_filter: TopicFilter::new("bench/+/temperature").expect("a topic filter"),
        options: SubscriptionOptions::new(QoS::AtLeastOnce),
    };
    let subscribe = Subscribe {
        packet_identifier: PacketIdentifier::FIRST,
        subscriptions: vec![subscription],
        properties: SubscribeProperties::default(),
    };
    encode(version, &PacketRef::Subscribe(subscribe))
}

fn encode(version: ProtocolVersion, packet: &PacketRef<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet
        .encode(version, u32::MAX, &mut bytes)
        .expect("a packet");
    bytes
}
