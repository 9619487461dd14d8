//! Tests of owned packets, and of their conversions with the traits of the standard library.

use std::collections::HashSet;

use mqtt_codec::*;

/// Returns an encoded PUBLISH with every property. The order differs from the order of the identifiers.
fn publish_bytes() -> Vec<u8> {
    let properties = [
        Property::User("b", "2"),
        Property::SubscriptionIdentifier(SubscriptionIdentifier::new(300).unwrap()),
        Property::MessageExpiryInterval(60),
        Property::TopicAlias(TopicAlias::new(4).unwrap()),
        Property::CorrelationData(b"\0x"),
        Property::User("a", "1"),
        Property::ResponseTopic("r"),
        Property::ContentType("c"),
        Property::PayloadFormatIndicator(true),
        Property::SubscriptionIdentifier(SubscriptionIdentifier::new(1).unwrap()),
    ];
    let publish = Publish {
        delivery: Delivery::new(QoS::AtLeastOnce, PacketIdentifier::LAST, true),
        retain: true,
        topic_name: "a/b".to_owned(),
        payload: "payload".into(),
        properties: PublishProperties::new(properties).unwrap(),
    };
    let mut bytes = Vec::new();
    Packet::Publish(publish)
        .encode(ProtocolVersion::V5_0, MAXIMUM_PACKET_SIZE, &mut bytes)
        .unwrap();
    bytes
}

#[test]
fn an_owned_publish_keeps_every_byte() {
    let bytes = publish_bytes();
    let mut decoder = Decoder::client(ProtocolVersion::V5_0, MAXIMUM_PACKET_SIZE);
    let decoded = decoder.decode(&mut &bytes[..]).unwrap().unwrap();
    let owned = decoded.clone().into_owned();
    let mut again = Vec::new();
    owned
        .encode(ProtocolVersion::V5_0, MAXIMUM_PACKET_SIZE, &mut again)
        .unwrap();
    assert_eq!(again, bytes);
    assert_eq!(owned.encoded_length(ProtocolVersion::V5_0), Ok(bytes.len()));
    let (PacketRef::Publish(decoded), Packet::Publish(owned)) = (decoded, owned) else {
        panic!("not a PUBLISH");
    };
    assert_eq!(owned.borrowed(), decoded);
    assert_eq!(owned.properties.iter().count(), 10);
    assert_eq!(
        owned.properties.borrowed().user_properties().iter().count(),
        2
    );
}

#[test]
fn an_owned_publish_without_properties_is_sent_in_all_versions() {
    let message = Message::new(TopicName::new("t").unwrap(), "x");
    for version in [
        ProtocolVersion::V3_1,
        ProtocolVersion::V3_1_1,
        ProtocolVersion::V5_0,
    ] {
        let publish = message.publish(Delivery::AtMostOnce);
        let encode = |result: &mut Vec<u8>| {
            PacketRef::Publish(publish)
                .encode(version, MAXIMUM_PACKET_SIZE, result)
                .unwrap();
        };
        let (mut expected, mut owned) = (Vec::new(), Vec::new());
        encode(&mut expected);
        Packet::Publish(publish.into_owned())
            .encode(version, MAXIMUM_PACKET_SIZE, &mut owned)
            .unwrap();
        assert_eq!(owned, expected);
    }
}

#[test]
fn properties_that_may_occur_once_are_rejected_the_second_time() {
    let mut properties = PublishProperties::default();
    assert!(properties.is_empty());
    let alias = Property::TopicAlias(TopicAlias::FIRST);
    assert_eq!(properties.push(alias), Ok(()));
    assert_eq!(properties.push(alias), Err(EncodeError::Property));
    let wildcard = Property::ResponseTopic("a/+");
    assert_eq!(properties.push(wildcard), Err(EncodeError::Property));
    let nul = Property::ContentType("\0");
    assert_eq!(properties.push(nul), Err(EncodeError::Field));
    assert_eq!(properties.iter().collect::<Vec<_>>(), [alias]);
}

#[test]
fn integers_and_texts_convert_into_types_and_back() {
    assert_eq!(QoS::try_from(2), Ok(QoS::ExactlyOnce));
    assert_eq!(u8::from(QoS::ExactlyOnce), 2);
    assert_eq!(PacketType::try_from(15), Ok(PacketType::Auth));
    assert_eq!(ProtocolVersion::try_from(4), Ok(ProtocolVersion::V3_1_1));
    assert_eq!(ReasonCode::try_from(0x87), Ok(ReasonCode::NotAuthorized));
    assert_eq!(PacketIdentifier::try_from(9).map(u16::from), Ok(9));
    assert_eq!(TopicAlias::try_from(9).map(u16::from), Ok(9));
    assert_eq!(SubscriptionIdentifier::try_from(9).map(u32::from), Ok(9));
    let error = PacketType::try_from(16).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid value 16: expected a packet type from 1 to 15"
    );
    let name: TopicName = "a/b".try_into().unwrap();
    assert_eq!(name.as_ref() as &str, "a/b");
    assert_eq!(String::from(name), "a/b");
    assert_eq!(TopicFilter::try_from("a/#/b".to_owned()), Err(InvalidTopic));
}

#[test]
fn packets_can_be_elements_of_a_hash_set() {
    let bytes = publish_bytes();
    let mut decoder = Decoder::client(ProtocolVersion::V5_0, MAXIMUM_PACKET_SIZE);
    let decoded = decoder.decode(&mut &bytes[..]).unwrap().unwrap();
    let packets = [decoded.clone(), PacketRef::Pingresp, decoded];
    assert_eq!(packets.iter().collect::<HashSet<_>>().len(), 2);
    let owned = packets.map(PacketRef::into_owned);
    assert_eq!(owned.iter().collect::<HashSet<_>>().len(), 2);
}
