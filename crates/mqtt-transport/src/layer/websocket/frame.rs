//! Header of a WebSocket frame (RFC 6455, section 5.2).
//!
//! This workspace uses no WebSocket library, because only its code for this header could be used. A library owns the
//! socket and returns whole messages. A layer does no I/O, and passes bytes to MQTT as they arrive: the boundaries of
//! WebSocket messages have no meaning in MQTT [MQTT-6.0.0-2], so no message must be buffered.

use super::error::WebSocketError;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;

/// Value of [`LENGTH`] that announces a length field of 2 bytes.
const LENGTH_IN_2_BYTES: u8 = 126;

/// Value of [`LENGTH`] that announces a length field of 8 bytes.
const LENGTH_IN_8_BYTES: u8 = 127;

/// Type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

/// Header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Set in the last frame of a message.
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    /// Masking key of a client's frame. Each payload byte is combined with one byte of the key by XOR.
    pub(super) mask: Option<[u8; 4]>,
    /// Number of payload bytes.
    pub(super) length: u64,
}

impl Opcode {
    /// Returns `true` for Close, Ping and Pong, which manage the connection.
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
    /// Removes a header from the front of `input` and returns it. Returns `None` if the header is incomplete.
    ///
    /// # Errors
    /// Returns an error if the header uses a reserved bit or a reserved opcode.
    pub(super) fn decode(input: &mut &[u8]) -> Result<Option<Self>, WebSocketError> {
        let mut rest = *input;
        // `input` stays unchanged until the header is complete, so that the caller can call again with more bytes.
        let Some([first, second]) = take(&mut rest) else {
            return Ok(None);
        };
        // The length of data frames has no limit, because their payload is passed on as it arrives.
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
        // A reserved bit would have a meaning only if an extension had been negotiated. This layer negotiates none.
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
        // The RFC requires the shortest form of the length.
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

/// Removes and returns the first `N` bytes. Returns `None` if `bytes` has fewer.
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
    fn headers_are_encoded_in_the_shortest_form_and_decoded() {
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
