//! Tests of CONNECT and CONNACK.

use std::num::NonZeroU16;

use mqtt_codec::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

use crate::vector::{connack, decoder, first, from_server, message};

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
