//! The encoding of a packet after its first byte, for each form of PUBLISH, and the Remaining Length.

use super::ack::Ack;
use super::publish::{Publish, PublishRef};
use crate::error::EncodeError;
use crate::field::{FieldWriter, LengthCounter};
use crate::protocol::ProtocolVersion;

/// Part of a packet after the fixed header.
pub(crate) trait Body {
    fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError>;
}

/// A form of PUBLISH: [`PublishRef`] or [`Publish`]. Types outside this crate cannot implement this trait.
#[allow(private_bounds)] // The bound on a private trait seals this one.
pub trait PublishForm: Body + Clone {
    /// Returns the flags of the fixed header.
    #[doc(hidden)]
    fn flags(&self) -> u8;
}

impl Body for PublishRef<'_> {
    #[inline]
    fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError> {
        self.encode(version, out);
        Ok(())
    }
}

impl PublishForm for PublishRef<'_> {
    #[inline]
    fn flags(&self) -> u8 {
        self.flags()
    }
}

impl Body for Publish {
    fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError> {
        self.borrowed().encode(version, out);
        Ok(())
    }
}

impl PublishForm for Publish {
    fn flags(&self) -> u8 {
        self.borrowed().flags()
    }
}

impl Body for Ack {
    #[inline]
    fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError> {
        self.encode(version, out);
        Ok(())
    }
}

/// Returns the length of a body in bytes. This pass also finds the fields that cannot be encoded.
#[inline]
pub(super) fn measure(body: &impl Body, version: ProtocolVersion) -> Result<usize, EncodeError> {
    let mut length = LengthCounter::default();
    body.encode(version, &mut length)?;
    if length.has_rejected {
        return Err(EncodeError::Field);
    }
    Ok(length.bytes)
}

/// Appends a packet of at most `limit` bytes to `out`.
#[inline]
pub(super) fn encode(
    body: &impl Body,
    first_byte: u8,
    version: ProtocolVersion,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    // The limit is checked before the first byte is written, so that `out` never contains a part of a packet.
    let length = measure(body, version)?;
    let packet_length = packet_length(length);
    if packet_length > limit {
        return Err(EncodeError::PacketTooLarge(packet_length));
    }
    // One reservation for the whole packet limits the growth of `out` to one allocation.
    out.reserve(packet_length);
    out.put_u8(first_byte);
    out.put_variable_byte_integer(length as u32);
    // `measure` has just run the same code, so this call cannot fail after a part of the packet was written.
    body.encode(version, out)
}

/// Returns the length in bytes of a packet whose body has `body` bytes.
pub(super) fn packet_length(body: usize) -> usize {
    // Each byte of the Remaining Length encodes seven bits (MQTT 5.0, 1.5.5).
    let length_size = match body {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    };
    1 + length_size + body
}
