//! The header of a WebSocket frame (RFC 6455, section 5.2).
//!
//! The rest of a WebSocket library would be unused here. A library's protocol machine owns the socket and returns whole
//! messages, but a layer does no I/O, and MQTT's bytes are passed on as they arrive: the borders of messages mean nothing
//! [MQTT-6.0.0-2], and nothing is buffered for them.

use super::error::WebSocketError;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;

/// The length of the length field that this value of [`LENGTH`] announces: 2 bytes.
const LENGTH_IN_2_BYTES: u8 = 126;

/// The value of [`LENGTH`] that announces a length field of 8 bytes.
const LENGTH_IN_8_BYTES: u8 = 127;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Set in the last frame of a message.
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    /// The bytes that the payload is combined with, in frames of a client.
    pub(super) mask: Option<[u8; 4]>,
    /// The number of bytes of the payload.
    pub(super) length: u64,
}

impl Opcode {
    /// Returns `true` for the frames that manage the connection.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn from_value(value: u8) -> Option<Self> {
        let all = [
            Self::Continuation,
            Self::Text,
            Self::Binary,
            Self::Close,
            Self::Ping,
            Self::Pong,
        ];
        all.into_iter().find(|opcode| *opcode as u8 == value)
    }
}

impl FrameHeader {
    /// Takes a header from the front of `input`; returns `None` if it is incomplete.
    ///
    /// # Errors
    /// If the header uses reserved bits or a reserved opcode.
    pub(super) fn decode(input: &mut &[u8]) -> Result<Option<Self>, WebSocketError> {
        let mut rest = *input;
        // `input` is unchanged until the header is complete, so the caller can call again with more bytes.
        let Some([first, second]) = take(&mut rest) else {
            return Ok(None);
        };
        let length = match second & LENGTH {
            LENGTH_IN_2_BYTES => take(&mut rest).map(|bytes| u16::from_be_bytes(bytes).into()),
            LENGTH_IN_8_BYTES => take(&mut rest).map(u64::from_be_bytes),
            length => Some(length.into()),
        };
        let Some(length) = length else {
            return Ok(None);
        };
        let mask = if second & MASKED != 0 {
            let Some(mask) = take(&mut rest) else {
                return Ok(None);
            };
            Some(mask)
        } else {
            None
        };
        // No extension was negotiated that gives the reserved bits a meaning.
        let opcode = Opcode::from_value(first & OPCODE).filter(|_| first & RESERVED == 0);
        *input = rest;
        Ok(Some(Self {
            is_final: first & FINAL != 0,
            opcode: opcode.ok_or(WebSocketError::Frame)?,
            mask,
            length,
        }))
    }

    /// Appends the header to `output`.
    pub(super) fn encode(&self, output: &mut Vec<u8>) {
        let is_final = if self.is_final { FINAL } else { 0 };
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        output.push(is_final | self.opcode as u8);
        // The shortest form, as the RFC requires.
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length @ 0..LENGTH_IN_2_BYTES), _) => output.push(masked | length),
            (_, Ok(length)) => {
                output.push(masked | LENGTH_IN_2_BYTES);
                output.extend(length.to_be_bytes());
            }
            _ => {
                output.push(masked | LENGTH_IN_8_BYTES);
                output.extend(self.length.to_be_bytes());
            }
        }
        output.extend(self.mask.iter().flatten());
    }
}

/// Takes the first `N` bytes; returns `None` if there are fewer.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: u64, mask: Option<[u8; 4]>) -> FrameHeader {
        FrameHeader {
            is_final: true,
            opcode: Opcode::Binary,
            mask,
            length,
        }
    }

    #[test]
    fn headers_are_written_in_the_shortest_form_and_read_back() {
        for (length, expected) in [
            (0, &b"\x82\x00"[..]),
            (125, b"\x82\x7D"),
            (126, b"\x82\x7E\x00\x7E"),
            (255, b"\x82\x7E\x00\xFF"),
            (256, b"\x82\x7E\x01\x00"),
            (65_535, b"\x82\x7E\xFF\xFF"),
            (65_536, b"\x82\x7F\0\0\0\0\0\x01\0\0"),
            (u64::MAX, b"\x82\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
        ] {
            let mut bytes = Vec::new();
            header(length, None).encode(&mut bytes);
            assert_eq!(bytes, expected);
            for mask in [None, Some(*b"mask")] {
                let mut bytes = Vec::new();
                header(length, mask).encode(&mut bytes);
                for end in 0..bytes.len() {
                    let mut part = &bytes[..end];
                    assert_eq!(FrameHeader::decode(&mut part), Ok(None));
                    assert_eq!(part.len(), end, "an incomplete header stays");
                }
                bytes.push(b'x');
                let mut rest = &bytes[..];
                let decoded = FrameHeader::decode(&mut rest);
                assert_eq!((decoded, rest), (Ok(Some(header(length, mask))), &b"x"[..]));
            }
        }
    }

    #[test]
    fn rejects_reserved_bits_and_opcodes() {
        for first in 0..=255_u8 {
            let is_reserved = first & RESERVED != 0 || matches!(first & OPCODE, 3..=7 | 11..);
            let decoded = FrameHeader::decode(&mut &[first, 0][..]);
            assert_eq!(
                decoded == Err(WebSocketError::Frame),
                is_reserved,
                "{first:#x}"
            );
        }
    }
}
