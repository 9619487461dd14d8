//! A vector: the bytes of a packet in hexadecimal, which are decoded, compared and encoded again.

use mqtt_codec::*;

pub(crate) const NO_LIMIT: u32 = MAXIMUM_PACKET_SIZE;

pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// Returns a decoder for this role and version. A server's decoder has already decoded CONNECT.
pub(crate) fn decoder(version: ProtocolVersion, role: Role) -> Decoder {
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
pub(crate) fn check(
    mut decoder: Decoder,
    version: ProtocolVersion,
    text: &str,
    expected: &PacketRef<'_>,
) {
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

pub(crate) fn from_client(version: ProtocolVersion, text: &str, expected: &PacketRef<'_>) {
    check(decoder(version, Role::Server), version, text, expected);
}

pub(crate) fn from_server(version: ProtocolVersion, text: &str, expected: &PacketRef<'_>) {
    check(decoder(version, Role::Client), version, text, expected);
}

pub(crate) fn first(version: ProtocolVersion, text: &str, expected: Connect) {
    check(
        Decoder::server(NO_LIMIT),
        version,
        text,
        &PacketRef::Connect(Box::new(expected)),
    );
}

pub(crate) fn identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).unwrap()
}

pub(crate) fn message(topic_name: &str, payload: &'static str) -> Message {
    Message::new(TopicName::new(topic_name).unwrap(), payload)
}

pub(crate) fn connack(session_present: bool, reason_code: ReasonCode) -> Connack {
    Connack {
        session_present,
        reason_code,
        properties: ConnackProperties::default(),
    }
}
