//! Deviations from the standard that the decoder accepts, and strings that are easily changed by mistake.

use mqtt_codec::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

use crate::vector::{NO_LIMIT, decoder, hex, message};

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
