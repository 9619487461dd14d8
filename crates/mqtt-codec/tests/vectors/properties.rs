//! Tests of properties: which packet has which, their order, and their limits.

use std::num::NonZeroU16;

use bytes::Bytes;
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::vector::{NO_LIMIT, decoder, hex, identifier, message};

#[test]
fn encoding_stays_within_the_limit_of_the_peer() {
    let properties = AckProperties {
        reason_string: Some("because".into()),
        ..Default::default()
    };
    let ack = PacketRef::Puback(Ack {
        packet_identifier: identifier(1),
        reason_code: ReasonCode::QuotaExceeded,
        properties,
    });
    let mut out = Vec::new();
    ack.encode(V5_0, 5, &mut out).unwrap();
    assert_eq!(out, hex("40 03 00 01 97"), "the explanation is left out");
    assert_eq!(
        ack.encode(V5_0, 4, &mut out),
        Err(EncodeError::PacketTooLarge(5))
    );
    assert_eq!(out.len(), 5, "nothing is written on an error");

    let large = message("a", "xy");
    let publish = PacketRef::Publish(large.publish(Delivery::AtMostOnce));
    assert_eq!(
        publish.encode(V3_1_1, 6, &mut out),
        Err(EncodeError::PacketTooLarge(7))
    );
    let mut connect = Connect::new(V3_1_1, "a".repeat(65536));
    let encode = |connect: &Connect| {
        PacketRef::Connect(Box::new(connect.clone())).encode(V3_1_1, NO_LIMIT, &mut Vec::new())
    };
    assert_eq!(encode(&connect), Err(EncodeError::Field));
    connect.client_identifier = "a\0".into();
    assert_eq!(encode(&connect), Err(EncodeError::Field));
    connect.client_identifier = "a".into();
    connect.password = Some("without user name".into());
    assert_eq!(encode(&connect), Err(EncodeError::Field));
    connect.user_name = Some("u".into());
    assert_eq!(encode(&connect), Ok(()));
}

/// Together with the tests above, this test decodes and encodes each of the 27 properties.
#[test]
fn encodes_and_decodes_all_properties_of_server_packets() {
    let text = || Some("t".to_owned());
    let user_properties = vec![
        UserProperty {
            name: "k".into(),
            value: "1".into(),
        },
        UserProperty::default(),
    ];
    let connack = PacketRef::Connack(Box::new(Connack {
        session_present: false,
        reason_code: ReasonCode::UseAnotherServer,
        properties: ConnackProperties {
            topic_alias_maximum: Some(10),
            session_expiry_interval: Some(u32::MAX),
            assigned_client_identifier: text(),
            server_keep_alive: Some(0),
            authentication_method: text(),
            authentication_data: Some(Bytes::from_static(&[0, 0xFF])),
            response_information: text(),
            server_reference: text(),
            reason_string: text(),
            maximum_qos: Some(QoS::AtLeastOnce),
            retain_available: Some(false),
            user_properties: user_properties.clone(),
            maximum_packet_size: std::num::NonZeroU32::new(2_000_000),
            wildcard_subscription_available: Some(true),
            subscription_identifiers_available: Some(false),
            shared_subscription_available: Some(false),
            receive_maximum: NonZeroU16::new(20),
        },
    }));
    let disconnect = PacketRef::Disconnect(Box::new(Disconnect {
        reason_code: ReasonCode::ServerMoved,
        properties: DisconnectProperties {
            session_expiry_interval: None,
            reason_string: text(),
            user_properties,
            server_reference: text(),
            ..DisconnectProperties::default()
        },
    }));
    for packet in [connack, disconnect] {
        let mut bytes = Vec::new();
        packet.encode(V5_0, NO_LIMIT, &mut bytes).unwrap();
        let mut input = &bytes[..];
        assert_eq!(
            decoder(V5_0, Role::Client).decode(&mut input),
            Ok(Some(packet))
        );
        assert!(input.is_empty());
    }
}

/// Returns the encoded properties of a PUBLISH, without the fixed header, the topic name and the Property Length.
fn properties_of<'a>(
    message: &'a Message,
    change: impl FnOnce(&mut PublishPropertiesRef<'a>),
) -> Vec<u8> {
    let mut publish = message.publish(Delivery::AtMostOnce);
    change(&mut publish.properties);
    let mut out = Vec::new();
    PacketRef::Publish(publish)
        .encode(V5_0, NO_LIMIT, &mut out)
        .unwrap();
    out[6..].to_vec()
}

#[test]
fn properties_keep_the_order_of_their_sender() {
    let user = hex("26 00 01 6B 00 01 76");
    let expiry = hex("02 00 00 00 3C");
    let of_connection = [hex("23 00 07"), hex("0B 05")];
    let identifiers = [SubscriptionIdentifier::new(9).unwrap()];
    let content_type = hex("03 00 01 74");
    let orders: [&[&[u8]]; 4] = [
        &[&user, &expiry, &content_type, &user],
        &[&content_type, &user, &user, &expiry],
        &[&expiry, &user],
        &[&user, &content_type],
    ];
    for order in orders {
        let stays = order.concat();
        for (before, after) in [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1)] {
            let mut of_connection = of_connection.iter().map(Vec::as_slice);
            let mut all: Vec<&[u8]> = of_connection.by_ref().take(before).collect();
            all.extend(order);
            all.extend(of_connection.take(after));
            let all = all.concat();
            let packet = [
                &[0x30, 4 + all.len() as u8, 0, 1, b'a', all.len() as u8],
                &all[..],
            ];
            let packet = packet.concat();
            let mut decoder = Decoder::client(V5_0, NO_LIMIT);
            let Ok(Some(PacketRef::Publish(publish))) = decoder.decode(&mut &packet[..]) else {
                panic!("{packet:x?}");
            };
            let mut again = Vec::new();
            let whole = PacketRef::Publish(publish);
            whole.encode(V5_0, NO_LIMIT, &mut again).unwrap();
            assert_eq!(again, packet);
            // The message has the properties that do not belong to the connection. A forwarded packet has the same
            // ones.
            let message = publish.to_message().unwrap();
            assert_eq!(properties_of(&message, |_| ()), stays);
            assert_eq!(publish.properties.stored_length(), stays.len());
            let mut passed_on = publish;
            passed_on.properties.topic_alias = None;
            passed_on.properties.subscription_identifiers = SubscriptionIdentifiers::default();
            let mut again = Vec::new();
            let whole = PacketRef::Publish(passed_on);
            whole.encode(V5_0, NO_LIMIT, &mut again).unwrap();
            assert_eq!(again[6..], stays);
            // The properties of the connection precede the properties of the message.
            let sent = properties_of(&message, |properties| {
                properties.subscription_identifiers = SubscriptionIdentifiers::new(&identifiers);
                properties.topic_alias = TopicAlias::new(2);
            });
            assert_eq!(sent, [&hex("0B 09 23 00 02")[..], &stays].concat());
        }
    }
}

#[test]
fn changing_the_expiry_interval_keeps_its_position() {
    let [user, content_type] = [Property::User("k", "v"), Property::ContentType("t")];
    let expiry = Property::MessageExpiryInterval(60);
    for properties in [
        [user, expiry, content_type],
        [expiry, user, content_type],
        [content_type, user, expiry],
    ] {
        let message = Message {
            properties: Some(Box::new(MessageProperties::new(properties).unwrap())),
            ..message("a", "")
        };
        let plain = properties_of(&message, |_| ());
        let at = plain.windows(5).position(|bytes| bytes == [2, 0, 0, 0, 60]);
        let at = at.unwrap();
        let mut changed = plain.clone();
        changed[at + 4] = 59;
        let set = |to| properties_of(&message, |p| p.message_expiry_interval = to);
        assert_eq!(set(Some(59)), changed);
        changed.drain(at..at + 5);
        assert_eq!(set(None), changed);
    }
    let without = Message {
        properties: Some(Box::new(MessageProperties::new([content_type]).unwrap())),
        ..message("a", "")
    };
    let added = properties_of(&without, |p| p.message_expiry_interval = Some(1));
    assert_eq!(added, hex("03 00 01 74 02 00 00 00 01"));
}

#[test]
fn message_rejects_properties_of_other_packets() {
    let mut properties = MessageProperties::default();
    let long = "x".repeat(65536);
    properties.push(Property::ContentType("t")).unwrap();
    for (property, error) in [
        (Property::ContentType("t"), EncodeError::Property),
        (
            Property::TopicAlias(TopicAlias::FIRST),
            EncodeError::Property,
        ),
        (Property::ResponseTopic("a/+"), EncodeError::Property),
        (Property::User("a\0", ""), EncodeError::Field),
        (
            Property::CorrelationData(long.as_bytes()),
            EncodeError::Field,
        ),
    ] {
        assert_eq!(properties.push(property), Err(error), "{property:?}");
    }
    assert!(properties.iter().eq([Property::ContentType("t")]));
}

#[test]
fn properties_are_encoded_in_the_order_of_the_application() {
    let pair = |name: &str| UserProperty {
        name: name.into(),
        value: "v".into(),
    };
    let mut properties = DisconnectProperties {
        session_expiry_interval: Some(1),
        reason_string: Some("r".into()),
        user_properties: vec![pair("a"), pair("b"), pair("c")],
        ..DisconnectProperties::default()
    };
    let user = |name: u8| [0x26, 0, 1, name, 0, 1, b'v'].to_vec();
    let (expiry, reason) = (vec![0x11, 0, 0, 0, 1], vec![0x1F, 0, 1, b'r']);
    for (order, expected) in [
        (
            vec![0x26, 0x1F, 0x26, 0x11],
            [
                user(b'a'),
                reason.clone(),
                user(b'b'),
                expiry.clone(),
                user(b'c'),
            ],
        ),
        (
            vec![0x1F],
            [
                reason.clone(),
                expiry.clone(),
                user(b'a'),
                user(b'b'),
                user(b'c'),
            ],
        ),
        // An identifier without a value, or with fewer values than occurrences, writes nothing.
        (
            vec![0x1F, 0x1F, 0x1C, 0x7F],
            [reason, expiry, user(b'a'), user(b'b'), user(b'c')],
        ),
    ] {
        properties.order = order;
        let disconnect = Disconnect {
            reason_code: ReasonCode::Success,
            properties: properties.clone(),
        };
        let mut out = Vec::new();
        let packet = PacketRef::Disconnect(Box::new(disconnect));
        packet.encode(V5_0, NO_LIMIT, &mut out).unwrap();
        assert_eq!(out[4..], expected.concat());
    }
}
