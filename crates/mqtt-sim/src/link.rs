//! A connection on its way: two queues of bytes. Bytes are neither reordered nor lost, as TCP
//! promises, until the link is cut; then each direction loses its own end.

use std::collections::VecDeque;
use std::time::Instant;

use mqtt_broker_core::{ConnectionId, InputProgress};

use crate::wire::PacketReader;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: usize,
    /// The number of this connection among those of its client.
    pub(crate) number: u32,
    /// To the broker.
    pub(crate) up: VecDeque<u8>,
    /// To the client.
    pub(crate) down: VecDeque<u8>,
    /// Nothing is added any more; what is in the queues may still arrive.
    pub(crate) is_cut: bool,
    /// The client's end is still there.
    pub(crate) client_is_open: bool,
    /// The broker's end, while it is there.
    pub(crate) connection: Option<ConnectionId>,
    /// Bytes that the broker has read and not handled yet.
    pub(crate) broker_input: Vec<u8>,
    /// The progress of the broker with these bytes.
    pub(crate) progress: InputProgress,
    /// The checkers: what each end has sent, and what has reached it.
    pub(crate) client_sent: PacketReader,
    pub(crate) client_got: PacketReader,
    pub(crate) broker_sent: PacketReader,
    pub(crate) broker_got: PacketReader,
    /// The broker has read a DISCONNECT, perhaps with a new expiry.
    pub(crate) left: Option<Left>,
    pub(crate) client_sent_connect: bool,
    /// DISCONNECT was seen from the client, from the broker.
    pub(crate) client_said_goodbye: bool,
    pub(crate) broker_said_goodbye: bool,
    pub(crate) connack_seen: bool,
    /// Whether its CONNECT asked for a clean start.
    pub(crate) clean_start: bool,
    /// In which order the broker accepted it: the CONNECT of an old link may arrive last.
    pub(crate) accepted: u64,
    /// The model knows that the broker's end is over.
    pub(crate) end_is_counted: bool,
    /// How many bytes at the front of the broker's output are past the checker. They may be written
    /// once what they promise is durable.
    pub(crate) checked: usize,
    /// When the broker answered CONNECT; its bytes may leave later.
    pub(crate) answered_at: Option<Instant>,
    /// Nothing moves before this step.
    pub(crate) stalled_until: u64,
}

/// How a client left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// The new Session Expiry Interval, in seconds.
    pub(crate) expiry: Option<u32>,
    /// Set if the will has to be published nevertheless.
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

    /// Nobody has this link any more.
    pub(crate) fn is_over(&self) -> bool {
        !self.client_is_open && self.connection.is_none()
    }
}
