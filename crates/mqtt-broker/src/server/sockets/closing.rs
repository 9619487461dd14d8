//! Ends connections and closes their sockets.

use super::state::Sockets;
use mqtt_broker_core::{Broker, ConnectionId, InputProgress};
use std::time::{Duration, Instant};

/// The time for which the socket of an ended connection stays open and is read. If a socket is closed while received
/// bytes are unread, the system discards the last output, and the peer does not receive the reason in DISCONNECT or
/// CONNACK.
const LINGER: Duration = Duration::from_secs(1);

impl Sockets {
    /// Ends a connection whose input has ended. If the peer has ended TLS or WebSocket but not the socket, the answer
    /// to its TLS alert or Close frame is written first, and the socket stays open for at most [`LINGER`].
    pub(super) fn end_unreadable(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        id: ConnectionId,
        index: usize,
    ) {
        broker.handle_close(now, id);
        let socket = self.table.get_mut(index);
        // `flush` fails if the socket is broken. Then the answer cannot be written any more.
        if socket.is_some_and(|socket| socket.stream.has_ended() && socket.stream.flush().is_ok()) {
            self.end_socket(broker, now, id, index);
        } else {
            self.close(broker, now, id, index);
        }
    }

    /// Begins to close the socket of a connection that the broker has ended. The last output is written, and then the
    /// bytes that the peer still sends are read and discarded. Both together take at most [`LINGER`].
    pub(super) fn end_socket(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        id: ConnectionId,
        index: usize,
    ) {
        let Some(socket) = self.table.known_mut(index) else {
            return;
        };
        if !socket.is_ending {
            socket.is_ending = true;
            self.lingering.push((now + LINGER, index));
        }
        // After the end of TLS or WebSocket no more output can be sent, so output that waits for a commit is dropped.
        let is_written = socket.stream.has_ended() || broker.whole_output(id).is_empty();
        if is_written && socket.stream.unsent() == 0 {
            self.linger(broker, now, id, index);
        }
    }

    /// Removes a connection, whose last output was written, from the broker. The socket stays open until the peer
    /// closes it or [`LINGER`] is over.
    fn linger(&mut self, broker: &mut Broker, now: Instant, id: ConnectionId, index: usize) {
        broker.remove(now, id);
        self.table.by_connection.remove(id);
        let Some(socket) = self.table.known_mut(index) else {
            return;
        };
        // `read` then discards the bytes of the peer.
        socket.connection = None;
        socket.buffer = None;
        socket.progress = InputProgress::Drained;
        // The peer receives the end of the stream after the last output, and then closes the socket. If this fails, the
        // connection is broken, and waiting for the peer would be in vain.
        if socket.stream.shut_down_writing().is_err() {
            return self.table.remove(index);
        }
        self.read_again(index);
    }

    /// Closes the sockets whose [`LINGER`] is over.
    pub(crate) fn end_lingering(&mut self, broker: &mut Broker, now: Instant) {
        // `LINGER` is the same for all sockets, so the list is in the order of the times.
        let due = self
            .lingering
            .iter()
            .take_while(|(until, _)| *until <= now)
            .count();
        let due: Vec<_> = self.lingering.drain(..due).collect();
        for (_, index) in due {
            // The socket may have been closed before, and a new socket may have its index. `is_ending` of the new
            // socket is not set.
            let Some(socket) = self.table.get_mut(index).filter(|socket| socket.is_ending) else {
                continue;
            };
            match socket.connection {
                Some(id) => self.close(broker, now, id, index),
                None => self.table.remove(index),
            }
        }
    }

    /// Removes the connection from the broker, and closes its socket immediately.
    pub(super) fn close(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        id: ConnectionId,
        index: usize,
    ) {
        broker.remove(now, id);
        self.table.remove(index);
    }
}
