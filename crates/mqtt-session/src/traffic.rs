//! [`Traffic`] counts the packets and messages of a connection for statistics.

use std::ops::AddAssign;

use mqtt_codec::PacketRef;

/// Number of packets of a connection in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets from the peer.
    pub received: Count,
    /// Packets to the peer, including packets that are still in the output.
    pub sent: Count,
}

/// Number of packets in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Number of packets of all types.
    pub packets: u64,
    /// Number of PUBLISH packets, including duplicates and resent messages.
    pub messages: u64,
    /// Number of payload bytes in these PUBLISH packets.
    pub payload_bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, packet: &PacketRef<'_>) {
        self.packets += 1;
        if let PacketRef::Publish(publish) = packet {
            self.messages += 1;
            self.payload_bytes += publish.payload.len() as u64;
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.messages += other.messages;
        self.payload_bytes += other.payload_bytes;
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
    }
}
