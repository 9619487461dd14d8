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
