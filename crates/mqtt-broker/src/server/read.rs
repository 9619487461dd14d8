//! Accepts new connections, and reads the bytes of open connections. `schedule.rs` decides which connection is read
//! next, and the core decides if a connection has to wait.

use std::time::Instant;

use mio::event::Event;
use mio::{Interest, Token};
use mqtt_broker_core::{CONNECTIONS, ConnectionId, EVENTS, InputProgress, LogEvent};
use mqtt_session::Excerpt;
use mqtt_transport::{ReadStatus, reason};

use super::sockets::Socket;
use super::{ACCEPT_PAUSE, Server};

/// Maximum number of connections that a listener accepts in one turn. With more, a storm of new connections would delay
/// the open ones.
const MAXIMUM_ACCEPTED: usize = 32;

impl Server {
    /// Accepts connections at the listener with this index, up to `MAXIMUM_ACCEPTED`.
    pub(super) fn accept(&mut self, now: Instant, index: usize) {
        if self.retry_accept.is_some() {
            return; // the pause after a failure is not over
        }
        let Some(bound) = self.listeners.get(index) else {
            return;
        };
        for _ in 0..MAXIMUM_ACCEPTED {
            let accepted = self.reserve.fill().and_then(|()| bound.listener.accept());
            let (mut stream, address) = match accepted {
                Ok(Some(accepted)) => {
                    self.cannot_accept = false;
                    accepted
                }
                Ok(None) => return,
                Err(error) => {
                    // Open connections are still served. New connections wait in the backlog of the listener until the
                    // end of the pause, because the poll does not report them again.
                    let is_first = !std::mem::replace(&mut self.cannot_accept, true);
                    let limiter = self.broker.log_limiter();
                    if is_first && limiter.admits(now, LogEvent::CannotAccept, "") {
                        let reason = reason(&error);
                        log::warn!(
                            target: EVENTS,
                            "Cannot accept a connection: {reason}. New connections wait until another one ends."
                        );
                    }
                    self.retry_accept = Some(now + ACCEPT_PAUSE);
                    return;
                }
            };
            if self.has_too_many(index) {
                let limiter = self.broker.log_limiter();
                if limiter.admits_from(now, LogEvent::TooMany, &address) {
                    log::warn!(target: EVENTS, "Connection from {address} closed: max_connections or global_max_connections is reached.");
                }
                continue;
            }
            let slot = self.sockets.next_index();
            let token = Token(self.listeners.len() + slot);
            // The poll is edge triggered: a socket that becomes writable causes one event, so both interests are
            // registered once and never changed.
            let interests = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = self.poll.registry().register(&mut stream, token, interests) {
                let reason = reason(&error);
                log::warn!(target: EVENTS, "Cannot serve the connection from {address}: {reason}.");
                continue;
            }
            let limiter = self.broker.log_limiter();
            if limiter.admits_from(now, LogEvent::Accepted, &address) {
                match bound.address.map(|bound| bound.port()) {
                    Some(port) => {
                        log::info!(target: CONNECTIONS, "New connection from {address} on port {port}.");
                    }
                    None => log::info!(target: CONNECTIONS, "New connection on {address}."),
                }
            }
            let id = self.broker.open(now, address, index as u32);
            let config = bound.config.as_ref();
            let tls = config.and_then(|config| config.tls.as_ref());
            let socket = Socket {
                unidentified: config.and_then(|config| config.identity),
                may_have_warning: tls
                    .is_some_and(|tls| tls.ca_file.is_some() || tls.ca_path.is_some()),
                ..Socket::new(stream, id, index)
            };
            self.sockets.insert(socket);
        }
        // More connections may wait. The poll does not report the same readiness again, so the next turn tries by
        // itself.
        self.accepting.push(index);
    }

    /// Accepts at the listeners that may have more connections than the last turn accepted.
    pub(super) fn accept_more(&mut self, now: Instant) {
        for index in std::mem::take(&mut self.accepting) {
            self.accept(now, index);
        }
    }

    /// Returns `true` if `max_connections` of the listener or `global_max_connections` is reached.
    fn has_too_many(&self, listener: usize) -> bool {
        let of_listener = self.broker.maximum_connections(listener as u32);
        let of_all = self.broker.maximum_connections_of_all();
        of_listener.is_some_and(|maximum| self.sockets.count(listener) >= maximum)
            || of_all.is_some_and(|maximum| self.broker.connection_count() >= maximum)
    }

    /// Handles an event of the socket with this index: queues it to be read or written.
    pub(super) fn handle_ready(&mut self, index: usize, event: &Event) {
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        socket.is_read_closed |= event.is_read_closed() || event.is_error();
        let has_input = event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_writable() {
            self.writable.extend(socket.connection);
        }
        // A connection that waits is not read when bytes arrive, but when `poll_resumable` returns it. The end of the
        // connection is the exception: then nothing needs to wait any more.
        let may_read = socket.progress == InputProgress::Drained || socket.is_read_closed;
        if has_input && may_read {
            self.read_again(index);
        }
    }

    /// Reads once from a peer, and passes the bytes to the broker. If the broker has not handled all earlier bytes,
    /// passes those again and reads nothing.
    pub(super) fn read(&mut self, now: Instant, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        socket.is_queued = false;
        // A buffer of the socket has bytes that must be handled first. Otherwise all sockets share one buffer.
        let own = socket.buffer.take().or_else(|| self.spare_buffer.take());
        let mut buffer = own.unwrap_or_default();
        let status = match socket.progress {
            InputProgress::Drained => buffer.fill(&mut socket.stream),
            // The bytes of the last read are still in the buffer. Reading more would let the buffer grow without bound.
            InputProgress::Yielded | InputProgress::Blocked => Ok(ReadStatus::More),
        };
        let connection = socket.connection;
        let taken = buffer.unread().len();
        match socket.connection {
            Some(id) => {
                if let Some(name) = socket.identity() {
                    self.broker.identify(id, name);
                }
                if let Some(warning) = socket.warning() {
                    let address = self.broker.peer(id).to_owned();
                    let limiter = self.broker.log_limiter();
                    if limiter.admits_from(now, LogEvent::LegacyCertificate, &address) {
                        log::warn!(target: EVENTS, "Connection from {address}: {warning}.");
                    }
                }
                let mut input = buffer.unread();
                let available = input.len();
                socket.progress = self.broker.handle_input(now, id, &mut input);
                socket.is_heavy = self.broker.has_spent_budget();
                buffer.consume(available - input.len());
            }
            None => buffer.clear(), // the socket lingers, and its bytes are discarded
        }
        // After `Drained`, the bytes that are left are the start of an incomplete packet. Otherwise they are whole
        // packets that wait.
        let incomplete = match socket.progress {
            InputProgress::Drained => buffer.unread().len(),
            InputProgress::Yielded | InputProgress::Blocked => 0,
        };
        match buffer.is_empty() {
            false => socket.buffer = Some(buffer),
            true => {
                buffer.clear();
                self.spare_buffer = Some(buffer);
            }
        }
        // `note_read` may end the connection, so its socket is looked up again.
        let has_no_memory = self.note_read(now, connection, taken, incomplete);
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        // The connection has ended, so the memory of its incomplete packet is freed now and not when the socket closes.
        if has_no_memory {
            socket.buffer = None;
        }
        // While a password waits for its check, the connection is not read, so the end of the stream would not be
        // noticed. The poll reports that the peer has closed, which saves the hash. The peer may have closed only its
        // sending half, but the system reports both in the same way.
        let is_gone =
            |id: &ConnectionId| socket.is_read_closed && self.broker.is_password_pending(*id);
        if let Some(id) = socket.connection.filter(is_gone) {
            self.broker.handle_close(now, id);
            return self.close(now, id, index);
        }
        match (status, socket.connection) {
            // `poll_resumable` returns the connection when it may resume.
            (Ok(ReadStatus::More | ReadStatus::Drained), Some(_))
                if socket.progress == InputProgress::Blocked => {}
            (Ok(ReadStatus::Drained), _) if socket.progress == InputProgress::Drained => {}
            (Ok(ReadStatus::More | ReadStatus::Drained), _) => self.read_again(index),
            (status @ (Ok(ReadStatus::Closed) | Err(_)), Some(id)) => {
                // An error of a layer, such as TLS, has a text that explains the reason. An error of the system has
                // none.
                let explained = status.err().filter(|error| error.get_ref().is_some());
                if let Some(error) = explained {
                    let peer = self.broker.peer(id).to_owned();
                    let limiter = self.broker.log_limiter();
                    if limiter.admits_from(now, LogEvent::TransportFailed, &peer) {
                        let error = error.to_string(); // the text may quote the peer, so `Excerpt` escapes it
                        let error = Excerpt(&error);
                        log::warn!(target: EVENTS, "Connection from {peer} failed: {error}.");
                    }
                }
                self.end_unreadable(now, id, index);
            }
            (Ok(ReadStatus::Closed) | Err(_), None) => self.sockets.remove(index),
        }
    }
}
