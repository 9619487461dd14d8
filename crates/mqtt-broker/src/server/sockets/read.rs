//! Reads the bytes of open connections. `schedule.rs` decides which connection is read next, and the core decides if a
//! connection has to wait.

use super::state::Sockets;
use super::table::Socket;
use crate::server::memory::Memory;
use mqtt_broker_core::{Broker, ConnectionId, EVENTS, InputProgress, LogEvent};
use mqtt_session::Excerpt;
use mqtt_transport::{ReadBuffer, ReadStatus};
use std::io;
use std::time::Instant;

impl Sockets {
    /// Reads once from a peer, and passes the bytes to the broker. If the broker has not handled all earlier bytes,
    /// passes the earlier bytes again and reads nothing.
    pub(super) fn read(
        &mut self,
        broker: &mut Broker,
        memory: &mut Memory,
        now: Instant,
        index: usize,
    ) {
        let Some(socket) = self.table.get_mut(index) else {
            return; // the socket was closed after it was queued
        };
        socket.is_queued = false;
        // If the socket has a buffer, the bytes in that buffer must be handled first. All other sockets share one
        // buffer.
        let own = socket.buffer.take().or_else(|| self.spare_buffer.take());
        let mut buffer = own.unwrap_or_default();
        let status = match socket.progress {
            InputProgress::Drained => buffer.fill(&mut socket.stream),
            // The bytes of the last read are still in the buffer. Reading more would let the buffer grow without bound.
            InputProgress::Yielded | InputProgress::Blocked => Ok(ReadStatus::More),
        };
        let connection = socket.connection;
        let taken = buffer.unread().len();
        match connection {
            Some(id) => handle_input(broker, now, id, socket, &buffer),
            None => buffer.clear(), // the socket lingers, and its bytes are discarded
        }
        // After `Drained`, the bytes that are left are the start of an incomplete packet. Otherwise they are whole
        // packets that wait.
        let incomplete = match socket.progress {
            InputProgress::Drained => buffer.unread().len(),
            InputProgress::Yielded | InputProgress::Blocked => 0,
        };
        if buffer.is_empty() {
            buffer.clear();
            self.spare_buffer = Some(buffer);
        } else {
            socket.buffer = Some(buffer);
        }
        // If the connection was ended, the memory of its incomplete packet is freed now and not when the socket closes.
        if memory.note_read(broker, now, connection, taken, incomplete) {
            socket.buffer = None;
        }
        self.continue_after(broker, now, index, status);
    }

    /// Queues a socket that was read, or closes it.
    fn continue_after(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        index: usize,
        status: io::Result<ReadStatus>,
    ) {
        let Some(socket) = self.table.known_mut(index) else {
            return;
        };
        // While a password waits for its check, the connection is not read, so the end of the stream would not be
        // noticed. The poll reports that the peer has closed. The connection is then closed too, so that its password
        // need not be hashed. A peer that has closed only its sending half also loses its connection, because the
        // system reports both in the same way.
        let is_gone = |id: &ConnectionId| socket.is_read_closed && broker.is_password_pending(*id);
        if let Some(id) = socket.connection.filter(is_gone) {
            broker.handle_close(now, id);
            return self.close(broker, now, id, index);
        }
        match (status, socket.connection) {
            // `poll_resumable` returns the connection when it may resume.
            (Ok(ReadStatus::More | ReadStatus::Drained), Some(_))
                if socket.progress == InputProgress::Blocked => {}
            (Ok(ReadStatus::Drained), _) if socket.progress == InputProgress::Drained => {}
            (Ok(ReadStatus::More | ReadStatus::Drained), _) => self.read_again(index),
            (status @ (Ok(ReadStatus::Closed) | Err(_)), Some(id)) => {
                if let Err(error) = status {
                    log_failure(broker, now, id, &error);
                }
                self.end_unreadable(broker, now, id, index);
            }
            (Ok(ReadStatus::Closed) | Err(_), None) => self.table.remove(index),
        }
    }
}

/// Passes the bytes of a connection to the broker. Before that, passes the user name in the client's certificate, and
/// logs a warning about the certificate.
fn handle_input(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    socket: &mut Socket,
    buffer: &ReadBuffer,
) {
    if let Some(name) = socket.identity() {
        broker.identify(id, name);
    }
    if let Some(warning) = socket.warning() {
        let address = broker.peer(id).to_owned();
        let limiter = broker.log_limiter();
        if limiter.admits_from(now, LogEvent::LegacyCertificate, &address) {
            log::warn!(target: EVENTS, "Connection from {address}: {warning}.");
        }
    }
    let mut input = buffer.unread();
    let available = input.len();
    socket.progress = broker.handle_input(now, id, &mut input);
    socket.is_heavy = broker.has_spent_budget();
    buffer.consume(available - input.len());
}

/// Logs why a connection has failed, if the error comes from TLS or WebSocket. Errors of the system, such as a reset
/// connection, are not logged here.
fn log_failure(broker: &mut Broker, now: Instant, id: ConnectionId, error: &io::Error) {
    if error.get_ref().is_none() {
        return;
    }
    let peer = broker.peer(id).to_owned();
    let limiter = broker.log_limiter();
    if limiter.admits_from(now, LogEvent::TransportFailed, &peer) {
        let error = error.to_string(); // the text may quote the peer, so `Excerpt` escapes it
        let error = Excerpt(&error);
        log::warn!(target: EVENTS, "Connection from {peer} failed: {error}.");
    }
}
