//! Tests of the feature `arbitrary`: generated packets can be encoded, and decoding returns equal packets.

use arbitrary::{Arbitrary, Unstructured};
use mqtt_codec::*;

const LIMIT: u32 = MAXIMUM_PACKET_SIZE;

/// Returns pseudo-random bytes.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Decodes a packet with the decoder of the role that receives packets of this type.
fn decode(encoded: &[u8], packet: &Packet) -> Result<Packet, DecodeError> {
    let version = ProtocolVersion::V5_0;
    let is_of_server = packet.packet_type().is_sent_by(Role::Server);
    let mut decoder = Decoder::client(version, LIMIT);
    let mut input = encoded;
    if !is_of_server {
        let connect = Packet::Connect(Box::new(Connect::new(version, "")));
        let mut first = Vec::new();
        connect.encode(version, LIMIT, &mut first).unwrap();
        decoder = Decoder::server(LIMIT);
        if packet.packet_type() != PacketType::Connect {
            decoder.decode(&mut &first[..])?;
        }
    }
    let decoded = decoder.decode(&mut input)?.expect("a whole packet");
    assert!(input.is_empty());
    Ok(decoded.into_owned())
}

#[test]
fn generated_packets_survive_encoder_and_decoder() {
    let mut decoded_types = std::collections::BTreeSet::new();
    for seed in 1..20_000 {
        let random = bytes(seed, 200);
        let Ok(packet) = Packet::arbitrary(&mut Unstructured::new(&random)) else {
            continue; // A text is too long for a topic filter with wildcards.
        };
        let mut encoded = Vec::new();
        let version = match &packet {
            Packet::Connect(connect) => connect.protocol_version,
            _ => ProtocolVersion::V5_0,
        };
        match packet.encode(version, LIMIT, &mut encoded) {
            Ok(()) => {}
            // MQTT 3.1 and 3.1.1 do not allow a password without a user name.
            Err(EncodeError::Field) if version != ProtocolVersion::V5_0 => continue,
            Err(error) => panic!("{error}: {packet:?}"),
        }
        // A decoder may reject a combination of fields, such as a reason code in the wrong packet.
        let Ok(decoded) = decode(&encoded, &packet) else {
            continue;
        };
        let mut again = Vec::new();
        decoded.encode(version, LIMIT, &mut again).unwrap();
        assert_eq!(decode(&again, &decoded).unwrap(), decoded);
        // A decoded packet does not have the order of properties that the application has chosen, so only the lengths
        // must agree.
        if version == ProtocolVersion::V5_0 {
            assert_eq!(again.len(), encoded.len(), "{packet:?}");
        }
        decoded_types.insert(decoded.packet_type());
    }
    assert_eq!(decoded_types.len(), 15, "{decoded_types:?}");
}
