//! How much has gone through a connection: counts for people, which decide nothing.

use std::ops::AddAssign;

use mqtt_codec::PacketRef;

/// The traffic of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the peer.
    pub received: Count,
    /// To the peer, or into the output.
    pub sent: Count,
}

/// Packets of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets of all kinds.
    pub packets: u64,
    /// PUBLISH packets, repeats included.
    pub messages: u64,
    /// The bytes of their payloads.
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
