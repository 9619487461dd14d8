//! [`Sockets`]: the owner of the sockets, and of the lists of those that must be read, written or closed next.

use super::schedule::Schedule;
use super::table::SocketTable;
use crate::server::memory::Memory;
use mio::event::Event;
use mqtt_broker_core::{Broker, ConnectionId, InputProgress};
use mqtt_transport::ReadBuffer;
use std::time::Instant;

/// The sockets, and the work that is due for them.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) table: SocketTable,
    /// The sockets that must be read.
    pub(super) schedule: Schedule,
    /// Connections whose output must be written in the next turn, because the socket has room again or the last turn
    /// has written enough.
    pub(super) writable: Vec<ConnectionId>,
    /// The buffer into which all sockets without a buffer of their own read. A socket keeps its own buffer only while
    /// it has bytes that were not handled yet, so ten thousand idle connections have none.
    pub(super) spare_buffer: Option<Box<ReadBuffer>>,
    /// The sockets of ended connections, with the time at which each is closed, in the order of these times.
    pub(super) lingering: Vec<(Instant, usize)>,
}

impl Sockets {
    /// Handles an event of the socket with this index: queues it to be read or written.
    pub(crate) fn handle_ready(&mut self, index: usize, event: &Event) {
        let Some(socket) = self.table.get_mut(index) else {
            return; // the socket was closed earlier in this turn
        };
        socket.is_read_closed |= event.is_read_closed() || event.is_error();
        let has_input = event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_writable() {
            self.writable.extend(socket.connection);
        }
        // A connection that waits is not read when bytes arrive, but when `poll_resumable` returns it. A peer that has
        // closed its end is the exception: `read` closes its connection if its password waits for a check.
        let may_read = socket.progress == InputProgress::Drained || socket.is_read_closed;
        if has_input && may_read {
            self.read_again(index);
        }
    }

    /// Queues a socket to be read, unless it is queued already.
    pub(crate) fn read_again(&mut self, index: usize) {
        let Some(socket) = self.table.get_mut(index) else {
            return; // the socket was closed since its index was looked up
        };
        if std::mem::replace(&mut socket.is_queued, true) {
            return;
        }
        self.schedule.push(index, socket.is_heavy);
    }

    /// Queues a connection to be read, if it still has a socket.
    pub(crate) fn read_connection_again(&mut self, id: ConnectionId) {
        if let Some(index) = self.table.index_of(id) {
            self.read_again(index);
        }
    }

    /// Serves the connections of this turn.
    pub(crate) fn serve(&mut self, broker: &mut Broker, memory: &mut Memory, now: Instant) {
        self.resume_connections(broker);
        // Sockets that `read` queues again are served in the next turn.
        for index in self.schedule.take_light() {
            self.read(broker, memory, now, index);
        }
        self.serve_heavy(broker, memory, now);
        broker.run_background(now);
    }

    /// Serves heavy connections while the budget of the turn lasts, and at least one in each turn.
    fn serve_heavy(&mut self, broker: &mut Broker, memory: &mut Memory, now: Instant) {
        let mut left = broker.work_per_turn();
        // Each heavy connection is served once per turn at most: `read` may queue it again at the end.
        for _ in 0..self.schedule.heavy_count() {
            let Some(index) = self.schedule.pop_heavy() else {
                return; // serving one has removed the others
            };
            self.read(broker, memory, now, index);
            let done = broker.work_done();
            if done >= left {
                return;
            }
            left -= done;
        }
    }

    /// Queues the connections that have waited and may resume now.
    pub(crate) fn resume_connections(&mut self, broker: &mut Broker) {
        while let Some(id) = broker.poll_resumable() {
            self.read_connection_again(id);
        }
    }

    /// Returns `true` if work is left that needs no further event. The loop must not wait then.
    pub(crate) fn has_work(&self) -> bool {
        !self.schedule.is_empty() || !self.writable.is_empty()
    }

    /// Returns `true` if no connection and no lingering socket is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.by_connection.is_empty() && self.lingering.is_empty()
    }

    /// Returns the time at which `end_lingering` must be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.lingering.first().map(|(until, _)| *until)
    }
}
