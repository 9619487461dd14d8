//! Decodes a stream of arbitrary bytes. Each decoded packet must be equal after it was encoded and decoded again, and
//! the result must not depend on the pieces in which the stream arrives.

use mqtt_codec::{Connect, DecodeError, Decoder, PacketRef, ProtocolVersion};

/// Decodes a stream. The first byte of the input selects the version (bits 0 and 1) and the state of the decoder (bits
/// 2 and 3). The second byte is the length of the pieces, and the rest is the stream.
///
/// # Panics
/// If the result depends on the pieces, or a packet differs after it was encoded and decoded.
pub fn packets(input: &[u8]) {
    let &[reader, cut, ref bytes @ ..] = input else {
        return;
    };
    let (mut whole, version) = decoder(reader);
    let mut in_pieces = whole.clone();
    let mut rest = bytes;
    let mut read = Vec::new();
    let end = loop {
        let before = rest.len();
        match whole.decode(&mut rest) {
            Ok(Some(packet)) => {
                assert!(rest.len() < before, "a packet without bytes");
                read.push(packet);
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    check_pieces(&mut in_pieces, bytes, usize::from(cut), &read, end);
    for packet in &read {
        check_round_trip(packet, reader, version.or_else(|| whole.version()));
    }
}

fn decoder(reader: u8) -> (Decoder, Option<ProtocolVersion>) {
    use ProtocolVersion::{V3_1, V3_1_1, V5_0};
    let version = [V3_1, V3_1_1, V5_0][usize::from(reader & 3).min(2)];
    match reader >> 2 & 3 {
        0 => (Decoder::client(version, 100_000), Some(version)),
        1 => (Decoder::server(100_000), None),
        _ => (accepted(version), Some(version)),
    }
}

/// Returns the decoder of a server that has decoded CONNECT. Only such a decoder accepts other packets.
fn accepted(version: ProtocolVersion) -> Decoder {
    let mut decoder = Decoder::server(100_000);
    let mut bytes = Vec::new();
    PacketRef::Connect(Box::new(Connect::new(version, "c")))
        .encode(version, u32::MAX, &mut bytes)
        .expect("fits");
    decoder.decode(&mut &bytes[..]).expect("valid");
    decoder
}

/// Decodes the same bytes in pieces of `piece` bytes, and compares the packets and the final error with `expected` and
/// `end`.
fn check_pieces(
    decoder: &mut Decoder,
    bytes: &[u8],
    piece: usize,
    expected: &[PacketRef<'_>],
    end: Option<DecodeError>,
) {
    let piece = piece.max(1);
    let mut expected = expected.iter();
    let (mut start, mut there) = (0, 0);
    loop {
        let mut input = &bytes[start..there];
        let result = decoder.decode(&mut input);
        start = there - input.len();
        match result {
            Ok(Some(packet)) => assert_eq!(Some(&packet), expected.next()),
            Ok(None) if there == bytes.len() => {
                assert_eq!(end, None);
                break;
            }
            Ok(None) => there = (there + piece).min(bytes.len()),
            Err(error) => {
                assert_eq!(end, Some(error));
                break;
            }
        }
    }
    assert_eq!(expected.next(), None);
}

/// Encodes a packet, decodes the bytes, and compares the two packets.
fn check_round_trip(packet: &PacketRef<'_>, reader: u8, version: Option<ProtocolVersion>) {
    let Some(version) = version else { return };
    let mut bytes = Vec::new();
    packet
        .encode(version, u32::MAX, &mut bytes)
        .expect("what was read fits");
    assert_eq!(packet.encoded_length(version), Ok(bytes.len()));
    let mut decoder = match (packet, reader >> 2 & 3) {
        (_, 0) => Decoder::client(version, u32::MAX),
        (PacketRef::Connect(_), _) => Decoder::server(u32::MAX),
        _ => accepted(version),
    };
    let mut input = &bytes[..];
    let again = decoder.decode(&mut input);
    assert_eq!(again.as_ref(), Ok(&Some(packet.clone())));
    assert!(input.is_empty());
}
