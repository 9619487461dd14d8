//! Bytes that the decoder must reject: malformed packets, protocol errors, and packets above the limit.

use mqtt_codec::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

use crate::vector::{NO_LIMIT, decoder, hex};

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
