//! Packets of every type as bytes. Each packet is decoded whole and byte by byte, compared, and encoded again. A second
//! table has bytes that the decoder must reject.

use std::num::NonZeroU16;

use bytes::Bytes;
use mqtt_codec::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

const NO_LIMIT: u32 = MAXIMUM_PACKET_SIZE;

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// Returns a decoder for this role and version. A server's decoder has already decoded CONNECT.
fn decoder(version: ProtocolVersion, role: Role) -> Decoder {
    if role == Role::Client {
        return Decoder::client(version, NO_LIMIT);
    }
    let mut decoder = Decoder::server(NO_LIMIT);
    let mut connect = Vec::new();
    PacketRef::Connect(Box::new(Connect::new(version, "c")))
        .encode(version, NO_LIMIT, &mut connect)
        .unwrap();
    decoder.decode(&mut &connect[..]).unwrap().unwrap();
    decoder
}

/// Decodes the bytes of `text` whole and byte by byte, compares the packets with `expected`, and encodes the packet
/// again.
fn check(mut decoder: Decoder, version: ProtocolVersion, text: &str, expected: &PacketRef<'_>) {
    let bytes = hex(text);
    let mut bytewise = decoder.clone();
    let mut input = &bytes[..];
    assert_eq!(
        decoder.decode(&mut input).as_ref(),
        Ok(&Some(expected.clone())),
        "{text}"
    );
    assert!(input.is_empty());
    for end in 0..bytes.len() {
        assert_eq!(
            bytewise.decode(&mut &bytes[..end]),
            Ok(None),
            "{text} at {end}"
        );
    }
    assert_eq!(
        bytewise.decode(&mut &bytes[..]).as_ref(),
        Ok(&Some(expected.clone()))
    );

    let mut written = Vec::new();
    expected.encode(version, NO_LIMIT, &mut written).unwrap();
    assert_eq!(expected.encoded_length(version), Ok(written.len()));
    assert_eq!(written, bytes, "{text}");
}

fn from_client(version: ProtocolVersion, text: &str, expected: &PacketRef<'_>) {
    check(decoder(version, Role::Server), version, text, expected);
}

fn from_server(version: ProtocolVersion, text: &str, expected: &PacketRef<'_>) {
    check(decoder(version, Role::Client), version, text, expected);
}

fn first(version: ProtocolVersion, text: &str, expected: Connect) {
    check(
        Decoder::server(NO_LIMIT),
        version,
        text,
        &PacketRef::Connect(Box::new(expected)),
    );
}

fn identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).unwrap()
}

fn message(topic_name: &str, payload: &'static str) -> Message {
    Message::new(TopicName::new(topic_name).unwrap(), payload)
}

fn connack(session_present: bool, reason_code: ReasonCode) -> Connack {
    Connack {
        session_present,
        reason_code,
        properties: ConnackProperties::default(),
    }
}

#[test]
fn encodes_and_decodes_connect_of_3_1_and_3_1_1() {
    first(
        V3_1,
        "10 0F 00 06 4D 51 49 73 64 70 03 02 00 3C 00 01 63",
        Connect::new(V3_1, "c"),
    );
    first(
        V3_1_1,
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 63",
        Connect::new(V3_1_1, "c"),
    );
    let will = Message {
        retain: true,
        ..message("w", "x")
    };
    let connect = Connect {
        will: Some(Will::new(will, QoS::AtLeastOnce)),
        user_name: Some("u".into()),
        password: Some("p".into()),
        ..Connect::new(V3_1_1, "c")
    };
    first(
        V3_1_1,
        "10 19 00 04 4D 51 54 54 04 EE 00 3C 00 01 63 00 01 77 00 01 78 00 01 75 00 01 70",
        connect,
    );
}

#[test]
fn connect_of_a_bridge_has_the_highest_bit_of_the_protocol_level() {
    let bridge = |version| Connect {
        is_bridge: true,
        ..Connect::new(version, "c")
    };
    for (version, bytes) in [
        (V3_1, "10 0F 00 06 4D 51 49 73 64 70 83 02 00 3C 00 01 63"),
        (V3_1_1, "10 0D 00 04 4D 51 54 54 84 02 00 3C 00 01 63"),
        (V5_0, "10 0E 00 04 4D 51 54 54 85 02 00 3C 00 00 01 63"),
    ] {
        first(version, bytes, bridge(version));
    }
}

#[test]
fn encodes_and_decodes_connect_of_5_0() {
    let properties = ConnectProperties {
        receive_maximum: NonZeroU16::new(20),
        ..ConnectProperties::default()
    };
    first(
        V5_0,
        "10 11 00 04 4D 51 54 54 05 02 00 3C 03 21 00 14 00 01 63",
        Connect {
            properties,
            ..Connect::new(V5_0, "c")
        },
    );
    let connect = Connect {
        clean_start: false,
        keep_alive: 10,
        will: Some(Will {
            message: message("w", "x"),
            qos: QoS::ExactlyOnce,
            will_delay_interval: Some(5),
        }),
        properties: ConnectProperties {
            session_expiry_interval: Some(3600),
            ..ConnectProperties::default()
        },
        ..Connect::new(V5_0, "")
    };
    first(
        V5_0,
        "10 1E 00 04 4D 51 54 54 05 14 00 0A 05 11 00 00 0E 10 00 00 05 18 00 00 00 05 00 01 77 00 01 78",
        connect,
    );
}

#[test]
fn encodes_and_decodes_connack_of_each_version() {
    let packet = |connack| PacketRef::Connack(Box::new(connack));
    from_server(
        V3_1_1,
        "20 02 00 00",
        &packet(connack(false, ReasonCode::Success)),
    );
    from_server(
        V3_1_1,
        "20 02 00 04",
        &packet(connack(false, ReasonCode::BadUserNameOrPassword)),
    );
    from_server(
        V5_0,
        "20 03 01 00 00",
        &packet(connack(true, ReasonCode::Success)),
    );
    let properties = ConnackProperties {
        topic_alias_maximum: Some(10),
        receive_maximum: NonZeroU16::new(20),
        ..ConnackProperties::default()
    };
    from_server(
        V5_0,
        "20 09 00 00 06 22 00 0A 21 00 14",
        &packet(Connack {
            properties,
            ..connack(false, ReasonCode::Success)
        }),
    );
    from_server(
        V5_0,
        "20 03 00 84 00",
        &packet(connack(false, ReasonCode::UnsupportedProtocolVersion)),
    );
    // These are answers of a server that supports MQTT 3.1.1 but not 5.0.
    let expected = packet(connack(false, ReasonCode::UnsupportedProtocolVersion));
    for bytes in [[0x20, 2, 0, 0], [0x20, 2, 0, 1]] {
        let decoded = decoder(V5_0, Role::Client).decode(&mut &bytes[..]);
        assert_eq!(decoded, Ok(Some(expected.clone())));
    }
}

#[test]
fn encodes_and_decodes_publish_of_3_1_1() {
    let plain = message("a", "xy");
    from_client(
        V3_1_1,
        "30 05 00 01 61 78 79",
        &PacketRef::Publish(plain.publish(Delivery::AtMostOnce)),
    );
    let retained = Message {
        retain: true,
        ..message("a/b", "")
    };
    let delivery = Delivery::AtLeastOnce {
        packet_identifier: identifier(10),
        dup: true,
    };
    from_client(
        V3_1_1,
        "3B 07 00 03 61 2F 62 00 0A",
        &PacketRef::Publish(retained.publish(delivery)),
    );
}

#[test]
fn encodes_and_decodes_publish_of_5_0() {
    let plain = message("a", "xy");
    from_client(
        V5_0,
        "30 06 00 01 61 00 78 79",
        &PacketRef::Publish(plain.publish(Delivery::AtMostOnce)),
    );
    let mut with_property = plain.clone();
    let properties = MessageProperties::new([Property::User("k", "v")]);
    with_property.properties = Some(Box::new(properties.unwrap()));
    let delivery = Delivery::ExactlyOnce {
        packet_identifier: identifier(10),
        dup: false,
    };
    let mut publish = with_property.publish(delivery);
    publish.properties.topic_alias = TopicAlias::new(1);
    from_client(
        V5_0,
        "34 12 00 01 61 00 0A 0A 23 00 01 26 00 01 6B 00 01 76 78 79",
        &PacketRef::Publish(publish),
    );
    let mut alias = plain.publish(Delivery::AtMostOnce);
    alias.topic_name = "";
    alias.properties.topic_alias = TopicAlias::new(1);
    from_client(
        V5_0,
        "30 08 00 00 03 23 00 01 78 79",
        &PacketRef::Publish(alias),
    );
    let identifiers = [1, 200].map(|value| SubscriptionIdentifier::new(value).unwrap());
    let empty = message("a", "");
    let mut publish = empty.publish(Delivery::AtMostOnce);
    publish.properties.subscription_identifiers = SubscriptionIdentifiers::new(&identifiers);
    from_server(
        V5_0,
        "30 09 00 01 61 05 0B 01 0B C8 01",
        &PacketRef::Publish(publish),
    );
}

#[test]
fn encodes_and_decodes_acknowledgements() {
    let ack = |code| Ack::new(identifier(10), code);
    for version in [V3_1, V3_1_1, V5_0] {
        from_client(
            version,
            "40 02 00 0A",
            &PacketRef::Puback(ack(ReasonCode::Success)),
        );
        from_server(
            version,
            "50 02 00 0A",
            &PacketRef::Pubrec(ack(ReasonCode::Success)),
        );
        from_client(
            version,
            "62 02 00 0A",
            &PacketRef::Pubrel(ack(ReasonCode::Success)),
        );
        from_server(
            version,
            "70 02 00 0A",
            &PacketRef::Pubcomp(ack(ReasonCode::Success)),
        );
    }
    from_server(
        V5_0,
        "40 03 00 0A 10",
        &PacketRef::Puback(ack(ReasonCode::NoMatchingSubscribers)),
    );
    let properties = AckProperties {
        reason_string: Some("no".into()),
        ..AckProperties::default()
    };
    from_server(
        V5_0,
        "50 09 00 0A 87 05 1F 00 02 6E 6F",
        &PacketRef::Pubrec(Ack {
            properties,
            ..ack(ReasonCode::NotAuthorized)
        }),
    );
    from_client(
        V5_0,
        "70 03 00 0A 92",
        &PacketRef::Pubcomp(ack(ReasonCode::PacketIdentifierNotFound)),
    );
}

#[test]
fn encodes_and_decodes_subscribe_and_unsubscribe() {
    let topic_filter = TopicFilter::new("a/#").unwrap();
    let subscribe = |options, properties| {
        PacketRef::Subscribe(Subscribe {
            packet_identifier: identifier(1),
            subscriptions: vec![Subscription {
                topic_filter: topic_filter.clone(),
                options,
            }],
            properties,
        })
    };
    from_client(
        V3_1_1,
        "82 08 00 01 00 03 61 2F 23 01",
        &subscribe(
            SubscriptionOptions::new(QoS::AtLeastOnce),
            SubscribeProperties::default(),
        ),
    );
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
    };
    let properties = SubscribeProperties {
        subscription_identifier: SubscriptionIdentifier::new(200),
        ..SubscribeProperties::default()
    };
    from_client(
        V5_0,
        "82 0C 00 01 03 0B C8 01 00 03 61 2F 23 1E",
        &subscribe(options, properties),
    );
    let unsubscribe = PacketRef::Unsubscribe(Unsubscribe {
        packet_identifier: identifier(2),
        topic_filters: vec![topic_filter.clone()],
        properties: UnsubscribeProperties::default(),
    });
    from_client(V3_1_1, "A2 07 00 02 00 03 61 2F 23", &unsubscribe);
    from_client(V5_0, "A2 08 00 02 00 00 03 61 2F 23", &unsubscribe);
}

#[test]
fn encodes_and_decodes_suback_and_unsuback() {
    let suback = |code| {
        PacketRef::Suback(Suback::new(
            identifier(1),
            vec![ReasonCode::GrantedQoS1, code],
        ))
    };
    from_server(
        V3_1_1,
        "90 04 00 01 01 80",
        &suback(ReasonCode::UnspecifiedError),
    );
    from_server(
        V5_0,
        "90 05 00 01 00 01 8F",
        &suback(ReasonCode::TopicFilterInvalid),
    );
    let unsuback = |codes| PacketRef::Unsuback(Suback::new(identifier(2), codes));
    from_server(V3_1_1, "B0 02 00 02", &unsuback(vec![]));
    from_server(
        V5_0,
        "B0 04 00 02 00 11",
        &unsuback(vec![ReasonCode::NoSubscriptionExisted]),
    );
}

#[test]
fn encodes_and_decodes_pings_disconnect_and_auth() {
    for version in [V3_1, V3_1_1, V5_0] {
        from_client(version, "C0 00", &PacketRef::Pingreq);
        from_server(version, "D0 00", &PacketRef::Pingresp);
        let disconnect = Disconnect::new(ReasonCode::Success);
        from_client(
            version,
            "E0 00",
            &PacketRef::Disconnect(Box::new(disconnect)),
        );
    }
    let disconnect = |code| PacketRef::Disconnect(Box::new(Disconnect::new(code)));
    from_client(
        V5_0,
        "E0 01 04",
        &disconnect(ReasonCode::DisconnectWithWillMessage),
    );
    from_server(V5_0, "E0 01 8E", &disconnect(ReasonCode::SessionTakenOver));
    let properties = DisconnectProperties {
        session_expiry_interval: Some(0),
        ..DisconnectProperties::default()
    };
    let ending = Disconnect {
        properties,
        ..Disconnect::new(ReasonCode::Success)
    };
    from_client(
        V5_0,
        "E0 07 00 05 11 00 00 00 00",
        &PacketRef::Disconnect(Box::new(ending)),
    );
    let auth = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        properties: AuthProperties {
            authentication_method: Some("M".into()),
            authentication_data: Some(Bytes::from_static(&[1, 2])),
            ..AuthProperties::default()
        },
    };
    from_client(
        V5_0,
        "F0 0B 18 09 15 00 01 4D 16 00 02 01 02",
        &PacketRef::Auth(Box::new(auth)),
    );
}

/// Some devices encode the Remaining Length always in two or four bytes. MQTT 3.1 and 3.1.1 allow this padding, and
/// MQTT 5.0 forbids it [MQTT-1.5.5-1].
#[test]
fn accepts_a_padded_remaining_length_before_5_0() {
    for version in [V3_1, V3_1_1] {
        for (bytes, role) in [
            ("C0 80 00", Role::Server),
            ("C0 80 80 80 00", Role::Server),
            ("D0 80 00", Role::Client),
        ] {
            let bytes = hex(bytes);
            let mut decoder = decoder(version, role);
            let mut input = &bytes[..];
            assert!(decoder.decode(&mut input).unwrap().is_some(), "{bytes:x?}");
            assert!(input.is_empty());
        }
        for (bytes, role) in [
            ("30 84 80 00 00 01 61 78", Role::Client),
            ("30 84 00 00 01 61 78", Role::Server),
        ] {
            let bytes = hex(bytes);
            let mut input = &bytes[..];
            let mut decoder = decoder(version, role);
            let Ok(Some(PacketRef::Publish(publish))) = decoder.decode(&mut input) else {
                panic!("{bytes:x?}");
            };
            assert_eq!((publish.topic_name, publish.payload), ("a", &b"x"[..]));
        }
    }
    for (version, is_accepted) in [(V3_1, true), (V3_1_1, true), (V5_0, false)] {
        let mut connect = Vec::new();
        let packet = PacketRef::Connect(Box::new(Connect::new(version, "c")));
        packet.encode(version, u32::MAX, &mut connect).unwrap();
        connect[1] |= 0x80;
        connect.insert(2, 0);
        let mut decoder = Decoder::server(u32::MAX);
        let decoded = decoder.decode(&mut &connect[..]);
        assert_eq!(decoded.is_ok(), is_accepted);
        assert_eq!(decoder.version(), Some(version));
    }
}

/// A server must not set DUP at QoS 0 [MQTT-3.3.1-2]. A client accepts the flag, because it has no effect.
#[test]
fn a_client_accepts_dup_with_qos_0_and_reports_it() {
    for (bytes, version) in [
        ("38 04 00 01 61 78", V3_1_1),
        ("38 05 00 01 61 00 78", V5_0),
    ] {
        let bytes = hex(bytes);
        let mut client = Decoder::client(version, u32::MAX);
        assert!(!client.has_accepted_dup());
        let Ok(Some(PacketRef::Publish(publish))) = client.decode(&mut &bytes[..]) else {
            panic!("{version}");
        };
        assert_eq!(
            (publish.delivery, publish.payload),
            (Delivery::AtMostOnce, &b"x"[..])
        );
        assert!(client.has_accepted_dup());
    }
}

/// Decodes each string of the table in every version in which it is invalid, with the decoder of the receiving role.
/// Byte by byte, the error must be the same, and no packet must follow the error.
#[test]
fn rejects_malformed_packets_and_protocol_errors() {
    use DecodeError::*;
    let all = [V3_1, V3_1_1, V5_0];
    let table: &[(&str, Role, &[ProtocolVersion], DecodeError)] = &[
        ("C0 80 00", Role::Server, &[V5_0], VariableByteInteger),
        ("D0 80 80 80 00", Role::Client, &[V5_0], VariableByteInteger),
        ("C0 80 80 80 80 00", Role::Server, &all, VariableByteInteger),
        ("C0 01 00", Role::Server, &all, LeftoverBytes),
        ("C1 00", Role::Server, &[V3_1_1, V5_0], FixedHeaderFlags),
        ("36 05 00 01 61 00 01", Role::Server, &all, QoS),
        ("38 03 00 01 61", Role::Server, &all, QoS),
        ("30 02 00 00", Role::Server, &[V3_1, V3_1_1], TopicName),
        ("30 03 00 00 00", Role::Server, &[V5_0], PropertyValue),
        ("30 04 00 02 61 00", Role::Server, &all, InvalidUtf8),
        ("30 05 00 03 ED A0 80", Role::Server, &all, InvalidUtf8),
        ("30 04 00 02 C0 80", Role::Server, &all, InvalidUtf8),
        ("30 03 00 01 2B", Role::Server, &all, TopicName),
        ("30 03 00 02 61", Role::Server, &all, Truncated),
        (
            "32 05 00 01 61 00 00",
            Role::Server,
            &all,
            PacketIdentifierZero,
        ),
        ("82 02 00 01", Role::Server, &[V3_1, V3_1_1], NothingListed),
        ("82 06 00 01 00 01 61 03", Role::Server, &[V3_1_1], QoS),
        (
            "80 06 00 01 00 01 61 00",
            Role::Server,
            &[V3_1_1, V5_0],
            FixedHeaderFlags,
        ),
        (
            "60 02 00 01",
            Role::Server,
            &[V3_1_1, V5_0],
            FixedHeaderFlags,
        ),
        (
            "40 03 00 01 00",
            Role::Server,
            &[V3_1, V3_1_1],
            LeftoverBytes,
        ),
        (
            "30 09 00 01 61 05 23 00 01 23 00",
            Role::Server,
            &[V5_0],
            Truncated,
        ),
        (
            "30 0A 00 01 61 06 23 00 01 23 00 01",
            Role::Server,
            &[V5_0],
            DuplicateProperty,
        ),
        (
            "30 06 00 01 61 02 01 02",
            Role::Server,
            &[V5_0],
            PropertyValue,
        ),
        (
            "30 07 00 01 61 03 23 00 00",
            Role::Server,
            &[V5_0],
            TopicAlias,
        ),
        (
            "30 06 00 01 61 02 80 01",
            Role::Server,
            &[V5_0],
            UnknownProperty,
        ),
        ("E0 05 00 03 11 00 00", Role::Server, &[V5_0], Truncated),
        // The rows above have invalid fields. The rows below have invalid senders, positions, lists and values.
        ("20 02 00 00", Role::Server, &all, UnexpectedPacket),
        (
            "82 06 00 01 00 01 61 00",
            Role::Client,
            &all,
            UnexpectedPacket,
        ),
        ("10 00", Role::Server, &all, UnexpectedPacket),
        ("00 00", Role::Server, &all, UnexpectedPacket),
        ("F0 00", Role::Server, &[V3_1, V3_1_1], UnexpectedPacket),
        ("E0 00", Role::Client, &[V3_1, V3_1_1], UnexpectedPacket),
        ("F0 00", Role::Server, &[V5_0], PropertyValue),
        (
            "30 06 00 01 61 02 0B 01",
            Role::Server,
            &[V5_0],
            PropertyValue,
        ),
        (
            "30 06 00 01 61 02 0B 00",
            Role::Client,
            &[V5_0],
            PropertyValue,
        ),
        (
            "30 09 00 01 61 05 11 00 00 00 00",
            Role::Server,
            &[V5_0],
            PropertyNotAllowed,
        ),
        (
            "30 08 00 01 61 04 08 00 01 2B",
            Role::Server,
            &[V5_0],
            PropertyValue,
        ),
        ("30 05 00 01 61 7F 00", Role::Server, &[V5_0], Truncated),
        ("E0 01 8E", Role::Server, &[V5_0], ReasonCode(0x8E)),
        (
            "E0 07 00 05 11 00 00 00 00",
            Role::Client,
            &[V5_0],
            PropertyValue,
        ),
        ("40 03 00 01 92", Role::Server, &[V5_0], ReasonCode(0x92)),
        ("90 03 00 01 00", Role::Client, &[V5_0], NothingListed),
        ("90 02 00 01", Role::Client, &[V3_1_1], NothingListed),
        ("90 03 00 01 03", Role::Client, &[V3_1_1], ReasonCode(3)),
        ("20 02 02 00", Role::Client, &[V3_1_1], ConnectFlags),
        ("20 02 00 06", Role::Client, &[V3_1_1], ConnackCode(6)),
        (
            "20 06 00 00 03 21 00 00",
            Role::Client,
            &[V5_0],
            PropertyValue,
        ),
        (
            "20 08 00 00 05 27 00 00 00 00",
            Role::Client,
            &[V5_0],
            PropertyValue,
        ),
        (
            "82 07 00 01 00 00 01 61 40",
            Role::Server,
            &[V5_0],
            SubscriptionOptions,
        ),
        (
            "82 07 00 01 00 00 01 61 30",
            Role::Server,
            &[V5_0],
            PropertyValue,
        ),
        (
            "82 10 00 01 00 00 0A 24 73 68 61 72 65 2F 67 2F 61 04",
            Role::Server,
            &[V5_0],
            PropertyValue,
        ),
        (
            "82 07 00 01 00 02 61 23 00",
            Role::Server,
            &[V3_1_1],
            TopicFilter,
        ),
        (
            "A2 06 00 02 00 02 61 23",
            Role::Server,
            &[V3_1_1],
            TopicFilter,
        ),
    ];
    for (text, role, versions, expected) in table {
        for version in *versions {
            let bytes = hex(text);
            let mut whole = decoder(*version, *role);
            assert_eq!(
                whole.decode(&mut &bytes[..]),
                Err(*expected),
                "{text} {version}"
            );
            let mut bytewise = decoder(*version, *role);
            let error = (1..=bytes.len()).find_map(|end| bytewise.decode(&mut &bytes[..end]).err());
            assert_eq!(error, Some(*expected), "{text} {version}");
            // After an error the decoder must reject even a valid packet.
            assert_eq!(bytewise.decode(&mut &[0xE0, 0][..]), Err(*expected));
        }
    }
}

#[test]
fn rejects_malformed_first_packets() {
    use DecodeError::*;
    let table = [
        ("10 FF FF FF FF 7F", VariableByteInteger),
        ("30", UnexpectedPacket),
        ("C0 00", UnexpectedPacket),
        ("11", FixedHeaderFlags),
        ("10 0D 00 04 4D 51 54 58 04 02 00 3C 00 01 63", ProtocolName),
        (
            "10 0D 00 04 4D 51 54 54 06 02 00 3C 00 01 63",
            UnsupportedProtocolVersion(6),
        ),
        (
            "10 0D 00 04 4D 51 54 54 86 02 00 3C 00 01 63",
            UnsupportedProtocolVersion(0x86),
        ),
        ("10 0D 00 04 4D 51 54 54 04 03 00 3C 00 01 63", ConnectFlags),
        ("10 0D 00 04 4D 51 54 54 04 22 00 3C 00 01 63", ConnectFlags),
        (
            "10 10 00 04 4D 51 54 54 04 42 00 3C 00 01 63 00 01 70",
            ConnectFlags,
        ),
        (
            "10 0E 00 04 4D 51 54 54 04 02 00 3C 00 01 63 00",
            LeftoverBytes,
        ),
        (
            "10 11 00 04 4D 51 54 54 05 02 00 3C 03 21 00 00 00 01 63",
            PropertyValue,
        ),
        (
            "10 12 00 04 4D 51 54 54 05 02 00 3C 04 16 00 01 00 00 01 63",
            PropertyValue,
        ),
        (
            "10 12 00 04 4D 51 54 54 04 06 00 3C 00 01 63 00 00 00 01 78",
            TopicName,
        ),
        ("10 FF FF FF 7F", PacketTooLarge),
    ];
    for (text, expected) in table {
        let mut decoder = Decoder::server(NO_LIMIT);
        assert_eq!(decoder.decode(&mut &hex(text)[..]), Err(expected), "{text}");
    }
}

/// MQTT 3.1 defines the flags of the fixed header for PUBLISH only. The decoder ignores the other flags.
#[test]
fn accepts_malformed_packets_that_3_1_tolerates() {
    for text in [
        "6A 02 00 01",
        "60 02 00 01",
        "8A 06 00 01 00 01 61 00",
        "AA 05 00 01 00 01 61",
    ] {
        let mut decoder = decoder(V3_1, Role::Server);
        assert!(
            matches!(decoder.decode(&mut &hex(text)[..]), Ok(Some(_))),
            "{text}"
        );
    }
    for text in [
        "10 0F 00 06 4D 51 49 73 64 70 03 03 00 3C 00 01 63", // the reserved connect flag
        "10 0F 00 06 4D 51 49 73 64 70 03 C2 00 3C 00 01 63", // user name and password missing
    ] {
        let mut decoder = Decoder::server(NO_LIMIT);
        assert!(
            matches!(decoder.decode(&mut &hex(text)[..]), Ok(Some(_))),
            "{text}"
        );
    }
}

#[test]
fn rejects_a_packet_above_the_limit_at_its_fixed_header() {
    let mut decoder = Decoder::client(V3_1_1, 128);
    assert_eq!(
        decoder.decode(&mut &hex("30 7E")[..]),
        Ok(None),
        "128 bytes are in the limit"
    );
    let error = Decoder::client(V3_1_1, 127)
        .decode(&mut &[0x30, 0x7E][..])
        .err();
    assert_eq!(error, Some(DecodeError::PacketTooLarge));
    let mut largest = Decoder::client(V3_1_1, NO_LIMIT);
    assert_eq!(largest.decode(&mut &hex("30 FF FF FF 7F")[..]), Ok(None));
}

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

#[test]
fn u_plus_feff_is_kept_in_every_string() {
    let text = "\u{FEFF}a\u{FEFF}";
    let mut decoder = decoder(V5_0, Role::Server);
    let properties = MessageProperties::new([Property::User(text, text)]);
    let message = Message {
        properties: Some(Box::new(properties.unwrap())),
        ..message(text, "")
    };
    let mut out = Vec::new();
    PacketRef::Publish(message.publish(Delivery::AtMostOnce))
        .encode(V5_0, NO_LIMIT, &mut out)
        .unwrap();
    let mut input = &out[..];
    let Ok(Some(PacketRef::Publish(publish))) = decoder.decode(&mut input) else {
        panic!()
    };
    assert_eq!(publish.to_message(), Ok(message));
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

#[test]
fn repeated_topic_filters_of_a_packet_share_their_memory() {
    let body = b"\x00\x01\x00\x01a\x00\x00\x01a\x01\x00\x01b\x00";
    let packet = [&[0x82, body.len() as u8], &body[..]].concat();
    let mut decoder = Decoder::server(u32::MAX);
    let connect = Connect::new(V3_1_1, "c");
    let mut bytes = Vec::new();
    PacketRef::Connect(Box::new(connect))
        .encode(V3_1_1, u32::MAX, &mut bytes)
        .unwrap();
    decoder.decode(&mut &bytes[..]).unwrap();
    let Some(PacketRef::Subscribe(subscribe)) = decoder.decode(&mut &packet[..]).unwrap() else {
        panic!("it is a SUBSCRIBE");
    };
    let [one, again, other] = &subscribe.subscriptions[..] else {
        panic!("three filters: {:?}", subscribe.subscriptions);
    };
    assert_eq!((&*one.topic_filter, &*other.topic_filter), ("a", "b"));
    assert_eq!(one.topic_filter.as_ptr(), again.topic_filter.as_ptr());
    assert_eq!(again.options.qos, QoS::AtLeastOnce);
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
