//! [`Observer`]: a function of the program that sees each packet of a connection.

use std::fmt;
use std::sync::Arc;

use mqtt_codec::{PacketRef, ProtocolVersion, Role};

/// Direction of a packet, seen from this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The packet was received from the peer.
    Received,
    /// The packet is in the output for the peer.
    Sending,
}

/// A packet that was received or that is in the output, with the role, client identifier and version of its connection.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Role of this end.
    pub role: Role,
    /// Direction of the packet.
    pub direction: Direction,
    /// Client identifier of the connection. Empty while it is unknown.
    pub client_identifier: &'a str,
    /// Version of the connection.
    pub version: ProtocolVersion,
    /// The packet.
    pub packet: &'a PacketRef<'a>,
}

/// Function that is called with each packet of a connection.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Observed<'_>) + Send + Sync>);

impl Observer {
    /// Returns an observer that calls `observe` with each packet, in the order in which packets are handled.
    pub fn new(observe: impl Fn(&Observed<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observe))
    }

    pub(crate) fn observe(&self, observed: &Observed<'_>) {
        (self.0)(observed);
    }
}

impl PartialEq for Observer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Observer {}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
