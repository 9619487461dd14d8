//! A simulated TCP connection: two queues of bytes, which are neither reordered nor lost until the link is cut. Then each
//! direction loses a part at its end.

use std::collections::VecDeque;
use std::time::Instant;

use mqtt_broker_core::{ConnectionId, InputProgress};

use crate::wire::PacketReader;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: usize,
    /// The number of this connection among those of its client.
    pub(crate) number: u32,
    /// The bytes on their way to the broker.
    pub(crate) up: VecDeque<u8>,
    /// The bytes on their way to the client.
    pub(crate) down: VecDeque<u8>,
    /// Set once the link is cut: no bytes are added, but those in the queues may arrive.
    pub(crate) is_cut: bool,
    /// Set while the client has its end open.
    pub(crate) client_is_open: bool,
    /// The broker's end, while it is open.
    pub(crate) connection: Option<ConnectionId>,
    /// Bytes that the broker has read and not handled yet.
    pub(crate) broker_input: Vec<u8>,
    /// The progress of the broker with these bytes.
    pub(crate) progress: InputProgress,
    /// The readers of the bytes that each end has sent, and that each end has received.
    pub(crate) client_sent: PacketReader,
    pub(crate) client_got: PacketReader,
    pub(crate) broker_sent: PacketReader,
    pub(crate) broker_got: PacketReader,
    /// The DISCONNECT that the broker has read.
    pub(crate) left: Option<Left>,
    pub(crate) client_sent_connect: bool,
    /// Set once the client has sent DISCONNECT.
    pub(crate) client_said_goodbye: bool,
    /// Set once the broker has sent DISCONNECT.
    pub(crate) broker_said_goodbye: bool,
    pub(crate) connack_seen: bool,
    /// Set if the CONNECT asked for a clean start.
    pub(crate) clean_start: bool,
    /// The place in the order of acceptance by the broker: the CONNECT of an old link may arrive last.
    pub(crate) accepted: u64,
    /// Set once the model was updated for the end at the broker.
    pub(crate) end_is_counted: bool,
    /// The number of bytes at the front of the broker's output that were checked. They may be written when their commit is
    /// durable.
    pub(crate) checked: usize,
    /// The time when the broker answered CONNECT. The answer may be written later.
    pub(crate) answered_at: Option<Instant>,
    /// The step before which no bytes move.
    pub(crate) stalled_until: u64,
}

/// The DISCONNECT of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// The new Session Expiry Interval, in seconds.
    pub(crate) expiry: Option<u32>,
    /// Set if the broker must publish the will nevertheless.
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
