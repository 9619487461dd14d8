//! Property tests of the whole codec. A packet that is encoded and decoded is unchanged, at whatever positions its
//! bytes are cut. Any bytes are decoded into packets or into an error, without a panic.

mod packets;

use mqtt_codec::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::packets::{Owned, conversation, version};

fn encode(connect: &Connect, packets: &[Owned]) -> Vec<u8> {
    let version = connect.protocol_version;
    let mut bytes = Vec::new();
    let first = PacketRef::Connect(Box::new(connect.clone()));
    first
        .encode(version, MAXIMUM_PACKET_SIZE, &mut bytes)
        .unwrap();
    for packet in packets {
        packet
            .packet()
            .encode(version, MAXIMUM_PACKET_SIZE, &mut bytes)
            .unwrap();
    }
    bytes
}

/// Passes the bytes to the decoder in pieces, and keeps the bytes that the decoder has not consumed. Returns the
/// decoded packets.
fn feed(decoder: &mut Decoder, bytes: &[u8], cuts: &[usize]) -> Result<Vec<String>, DecodeError> {
    let mut buffer: Vec<u8> = Vec::new();
    let mut packets = Vec::new();
    let mut rest = bytes;
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (piece, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        buffer.extend_from_slice(piece);
        let mut input = &buffer[..];
        while let Some(packet) = decoder.decode(&mut input)? {
            packets.push(format!("{packet:?}"));
        }
        let taken = buffer.len() - input.len();
        buffer.drain(..taken);
    }
    assert!(rest.is_empty());
    Ok(packets)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn packets_survive_encoding_and_decoding((connect, packets) in conversation()) {
        let bytes = encode(&connect, &packets);
        let mut decoder = Decoder::server(MAXIMUM_PACKET_SIZE);
        let mut input = &bytes[..];
        let first = decoder.decode(&mut input).unwrap().unwrap();
        prop_assert_eq!(first, PacketRef::Connect(Box::new(connect)));
        for packet in &packets {
            prop_assert_eq!(decoder.decode(&mut input).unwrap().unwrap(), packet.packet());
        }
        prop_assert!(input.is_empty());
    }

    #[test]
    fn result_is_independent_of_the_split_of_the_input(
        (connect, packets) in conversation(),
        cuts in vec(0..30usize, 0..40),
    ) {
        let bytes = encode(&connect, &packets);
        let whole = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &[]).unwrap();
        let pieces = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &cuts).unwrap();
        let single = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &vec![1; bytes.len()]).unwrap();
        prop_assert_eq!(whole.len(), packets.len() + 1);
        prop_assert_eq!(&pieces, &whole);
        prop_assert_eq!(&single, &whole);
    }

    /// A changed byte may change the meaning of a packet or make it invalid. If the packet is decoded, encoding and
    /// decoding it again returns the same packet.
    #[test]
    fn corrupt_bytes_are_rejected_or_decode_to_one_packet(
        (connect, packets) in conversation(),
        position in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cuts in vec(0..30usize, 0..10),
    ) {
        let mut bytes = encode(&connect, &packets);
        let index = position.index(bytes.len());
        bytes[index] = value;
        let whole = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &[]);
        let pieces = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &cuts);
        prop_assert_eq!(whole, pieces);

        let mut decoder = Decoder::server(MAXIMUM_PACKET_SIZE);
        let mut input = &bytes[..];
        while let Ok(Some(packet)) = decoder.decode(&mut input) {
            let version = decoder.version().unwrap();
            let mut again = Vec::new();
            packet.encode(version, MAXIMUM_PACKET_SIZE, &mut again).unwrap();
            let mut second = match packet.packet_type() {
                PacketType::Connect => Decoder::server(MAXIMUM_PACKET_SIZE),
                _ => decoder.clone(),
            };
            let reread = second.decode(&mut &again[..]);
            prop_assert_eq!(reread, Ok(Some(packet)));
        }
    }

    #[test]
    fn any_bytes_decode_to_packets_or_an_error(
        version in version(),
        bytes in vec(any::<u8>(), 0..200),
        first in 0..16u8,
    ) {
        let mut bytes = bytes;
        bytes.insert(0, (first << 4) | (2 * u8::from(matches!(first, 6 | 8 | 10))));
        let _ = feed(&mut Decoder::client(version, MAXIMUM_PACKET_SIZE), &bytes, &[]);
        let _ = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &[3]);
    }
}
