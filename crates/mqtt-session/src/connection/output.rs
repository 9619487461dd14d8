//! [`Output`] is the buffer of encoded packets that wait to be written to the socket.

use mqtt_codec::{EncodeError, PacketRef, ProtocolVersion};

/// Maximum capacity that an empty buffer keeps. A larger buffer is freed, so that thousands of idle connections use no
/// memory for output.
const KEPT_CAPACITY: usize = 4096;

/// Output of one connection.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Encoded packets. The first `written` bytes have been written to the socket.
    bytes: Vec<u8>,
    /// Number of `bytes` that have been written.
    written: usize,
    /// Position of the first packet boundary in `bytes`. If the beginning of a packet was removed, the rest of the
    /// packet is before this position.
    first_packet: usize,
    /// Set when the first byte of the connection has been written.
    has_written: bool,
}

impl Output {
    /// Appends a packet. Returns an error and leaves the output unchanged if the packet cannot be encoded.
    pub(super) fn push(
        &mut self,
        packet: &PacketRef<'_>,
        version: ProtocolVersion,
        maximum_packet_size: u32,
    ) -> Result<(), EncodeError> {
        packet.encode(version, maximum_packet_size, &mut self.bytes)
    }

    /// Returns the bytes that have not been written.
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Removes `count` bytes from the front of [`Self::pending`] after they were written.
    pub(super) fn consume(&mut self, count: usize) {
        self.written += count;
        self.has_written |= count > 0;
        // In most calls the socket has accepted all bytes, so no byte has to be moved.
        if self.written >= self.bytes.len() {
            self.clear();
        } else if self.written > self.bytes.len() / 2 {
            // The output of a busy connection may never be empty, but its buffer must not grow without limit. Moving
            // the rest only when more than half is written keeps the cost for each byte constant.
            self.first_packet = self.packet_end(self.written) - self.written;
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Returns `true` if at least one byte of the connection has been written.
    pub(super) fn has_written(&self) -> bool {
        self.has_written
    }

    /// Discards the packets that begin after the next `kept` bytes. A packet that begins before, or was written in
    /// part, is kept whole.
    pub(super) fn truncate(&mut self, kept: usize) {
        let end = self.packet_end(self.written + kept);
        self.bytes.truncate(end);
    }

    /// Returns the first packet boundary at or after `position`.
    fn packet_end(&self, position: usize) -> usize {
        // Packet boundaries are rarely needed and not stored. The lengths in the fixed headers lead from one to the
        // next.
        let mut end = self.first_packet;
        while end < position {
            // A fixed header has one byte for type and flags, and up to four bytes for the Remaining Length.
            let lengths = self.bytes.get(end + 1..).unwrap_or_default();
            let mut remaining = 0;
            let mut header = 1;
            for byte in lengths.iter().take(4) {
                remaining |= usize::from(byte & 0x7F) << (7 * (header - 1));
                header += 1;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            end += header + remaining;
        }
        // `bytes` ends with a whole packet, so `end` is never above the length. The minimum is a safeguard.
        end.min(self.bytes.len())
    }

    /// Empties the buffer, and frees a large buffer.
    pub(super) fn clear(&mut self) {
        (self.written, self.first_packet) = (0, 0);
        if self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncating_leaves_complete_packets_at_every_write_position() {
        let topic_name = mqtt_codec::TopicName::new("t").unwrap();
        let message = |size: usize| mqtt_codec::Message::new(topic_name.clone(), vec![b'x'; size]);
        for sizes in [[0, 1, 2], [200, 3, 20_000]] {
            let mut whole = Output::default();
            let mut ends = vec![0];
            for size in sizes {
                let message = message(size);
                let packet = PacketRef::Publish(message.publish(mqtt_codec::Delivery::AtMostOnce));
                whole
                    .push(&packet, ProtocolVersion::V5_0, u32::MAX)
                    .unwrap();
                ends.push(whole.bytes.len());
            }
            let all = whole.bytes.clone();
            let step = all.len() / 40 + 1;
            for written in (0..all.len()).step_by(step) {
                for kept in (0..=all.len() - written).step_by(step) {
                    let mut output = Output {
                        bytes: all.clone(),
                        ..Output::default()
                    };
                    // The bytes are written in two pieces, so that the beginning of a packet is removed between them.
                    output.consume(written / 2);
                    output.consume(written - written / 2);
                    output.truncate(kept);
                    let end = ends.iter().find(|end| **end >= written + kept).unwrap();
                    assert_eq!(output.pending(), &all[written..*end], "{written} {kept}");
                }
            }
        }
    }

    #[test]
    fn a_buffer_that_is_never_empty_does_not_grow() {
        let mut output = Output::default();
        let push = |output: &mut Output| {
            output
                .push(&PacketRef::Pingreq, ProtocolVersion::V3_1_1, u32::MAX)
                .unwrap();
        };
        (0..1000).for_each(|_| push(&mut output));
        for _ in 0..1_000_000 {
            push(&mut output);
            output.consume(2);
            assert_eq!(output.pending().len(), 2000);
        }
        assert!(output.bytes.capacity() < 10_000);
        output.consume(2000);
        assert!(output.pending().is_empty());
    }
}
