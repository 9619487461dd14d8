//! The bytes that wait to be written to the socket, in order.

use mqtt_codec::{EncodeError, Packet, ProtocolVersion};

/// Above this an empty buffer is given back: thousands of idle connections hold nothing.
const KEPT_CAPACITY: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    pub(crate) fn push(
        &mut self,
        packet: &Packet<'_>,
        version: ProtocolVersion,
        maximum_packet_size: u32,
    ) -> Result<(), EncodeError> {
        packet.encode(version, maximum_packet_size, &mut self.bytes)
    }

    pub(crate) fn pending(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.written += count;
        if self.written >= self.bytes.len() {
            self.clear();
        } else if self.written > self.bytes.len() / 2 {
            // A peer that always has something to come must not make the buffer grow for ever.
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.written = 0;
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
    fn a_buffer_that_is_never_empty_does_not_grow() {
        let mut output = Output::default();
        let push = |output: &mut Output| {
            output
                .push(&Packet::Pingreq, ProtocolVersion::V3_1_1, u32::MAX)
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
