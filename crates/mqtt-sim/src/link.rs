//! A simulated TCP connection: two queues of bytes, which are neither reordered nor lost until the link is cut. A cut
//! removes bytes at the end of each queue. The link also carries the state of the checkers for this connection.

use std::collections::VecDeque;
use std::time::Instant;

use mqtt_broker_core::{ConnectionId, InputProgress};

use crate::wire::PacketReader;

/// A connection between a client and the broker.
#[derive(Debug)]
pub(crate) struct Link {
    /// The index of the client.
    pub(crate) client: usize,
    /// The number of this connection among those of its client.
    pub(crate) number: u32,
    /// The bytes on their way to the broker.
    pub(crate) up: VecDeque<u8>,
    /// The bytes on their way to the client.
    pub(crate) down: VecDeque<u8>,
    /// Set once the link is cut: no bytes are added, but those in the queues may arrive.
    pub(crate) is_cut: bool,
    /// Set while the client's end is open.
    pub(crate) client_is_open: bool,
    /// The broker's end, while it is open.
    pub(crate) connection: Option<ConnectionId>,
    /// Bytes that the broker has read and not handled yet.
    pub(crate) broker_input: Vec<u8>,
    /// The progress of the broker with these bytes.
    pub(crate) progress: InputProgress,
    /// The packet readers of the four places at which bytes are checked: sent and received by the client, sent and
    /// received by the broker.
    pub(crate) client_sent: PacketReader,
    pub(crate) client_got: PacketReader,
    pub(crate) broker_sent: PacketReader,
    pub(crate) broker_got: PacketReader,
    /// The DISCONNECT of the client, once the broker has read it.
    pub(crate) left: Option<Left>,
    /// Set once the client has sent CONNECT, whose will has the number of this link.
    pub(crate) client_sent_connect: bool,
    /// Set once the client has sent DISCONNECT.
    pub(crate) client_said_goodbye: bool,
    /// Set once the broker has sent DISCONNECT.
    pub(crate) broker_said_goodbye: bool,
    /// Set once the broker's CONNACK was checked. The commit that the CONNACK waits for may come later.
    pub(crate) connack_seen: bool,
    /// Set if the CONNECT asked for a clean start.
    pub(crate) clean_start: bool,
    /// The position in the order in which the broker has answered CONNECT packets; 0 before the answer. This order can
    /// differ from the order in which the links were opened: the CONNECT of an older link may arrive last.
    pub(crate) accepted: u64,
    /// Set once the client's model was updated for the end of this connection at the broker.
    pub(crate) end_is_counted: bool,
    /// The number of bytes at the front of the broker's output that were checked. The broker may write them when their
    /// commit is durable.
    pub(crate) checked: usize,
    /// The time when the broker answered CONNECT. The answer may be written later.
    pub(crate) answered_at: Option<Instant>,
    /// The step before which no bytes move.
    pub(crate) stalled_until: u64,
}

/// The DISCONNECT of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// The new Session Expiry Interval in seconds, if the DISCONNECT has one.
    pub(crate) expiry: Option<u32>,
    /// Set if the reason code is 0x04, with which the broker publishes the will.
    pub(crate) with_will: bool,
}

impl Link {
    pub(crate) fn new(client: usize, number: u32, connection: ConnectionId, version: u8) -> Self {
        Self {
            client,
            number,
            up: VecDeque::new(),
            down: VecDeque::new(),
            is_cut: false,
            client_is_open: true,
            connection: Some(connection),
            broker_input: Vec::new(),
            progress: InputProgress::Drained,
            client_sent: PacketReader::new(version),
            client_got: PacketReader::new(version),
            broker_sent: PacketReader::new(version),
            broker_got: PacketReader::new(version),
            left: None,
            client_sent_connect: false,
            client_said_goodbye: false,
            broker_said_goodbye: false,
            connack_seen: false,
            clean_start: false,
            accepted: 0,
            end_is_counted: false,
            checked: 0,
            answered_at: None,
            stalled_until: 0,
        }
    }

    /// Returns `true` if both ends are closed.
    pub(crate) fn is_over(&self) -> bool {
        !self.client_is_open && self.connection.is_none()
    }
}

/// The number of bytes that a link stores in each direction. An end cannot write while the link is full.
pub(crate) const LINK_CAPACITY: usize = 4096;

/// The maximum number of bytes that wait at an end (I8). Messages are short and few are in flight, so 64 KiB are
/// plenty.
pub(crate) const MAXIMUM_UNWRITTEN: usize = 64 * 1024;

/// Returns a PUBACK, PUBREC or PUBCOMP with a packet identifier that is not in use.
pub(crate) fn spurious(rng: &mut fastrand::Rng) -> [u8; 4] {
    let first = [0x40, 0x50, 0x70][rng.usize(0..3)];
    [first, 2, 0xFF, 0xFE]
}
