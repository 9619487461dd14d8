//! Accepts new connections, and reads the bytes of open connections. `schedule.rs` decides which connection is read
//! next, and `throttle.rs` in the core decides whether a connection has to wait.

use std::time::Instant;

use mio::event::Event;
use mio::{Interest, Token};
use mqtt_broker_core::{CONNECTIONS, ConnectionId, EVENTS, InputProgress, LogEvent};
use mqtt_session::Excerpt;
use mqtt_transport::{ReadStatus, reason};

use super::sockets::Socket;
use super::{ACCEPT_PAUSE, Server};

/// Maximum number of connections that a listener accepts in one turn, so that open connections are served in between.
const MAXIMUM_ACCEPTED: usize = 32;

impl Server {
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
                    // Open connections are still served. New ones wait in the backlog of the listener.
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
        // More connections may wait, and the poll does not report readiness a second time.
        self.accepting.push(index);
    }

    /// Accepts at the listeners that had more connections waiting than one turn takes.
    pub(super) fn accept_more(&mut self, now: Instant) {
        for index in std::mem::take(&mut self.accepting) {
            self.accept(now, index);
        }
    }

    fn has_too_many(&self, listener: usize) -> bool {
        let of_listener = self.broker.maximum_connections(listener as u32);
        let of_all = self.broker.maximum_connections_of_all();
        of_listener.is_some_and(|maximum| self.sockets.count(listener) >= maximum)
            || of_all.is_some_and(|maximum| self.broker.connection_count() >= maximum)
    }

    pub(super) fn handle_ready(&mut self, index: usize, event: &Event) {
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        socket.is_read_closed |= event.is_read_closed() || event.is_error();
        let has_input = event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_writable() {
            self.writable.extend(socket.connection);
        }
        // A connection that waits is read again when the broker names it, even if bytes have arrived meanwhile. Only
        // the end of the connection may make the wait pointless.
        let may_read = socket.progress == InputProgress::Drained || socket.is_read_closed;
        if has_input && may_read {
            self.read_again(index);
        }
    }

    /// Reads once from a peer and passes the bytes to the broker, or passes the bytes again that the broker could not
    /// handle before.
    pub(super) fn read(&mut self, now: Instant, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        socket.is_queued = false;
        let own = socket.buffer.take().or_else(|| self.spare_buffer.take());
        let mut buffer = own.unwrap_or_default();
        let status = match socket.progress {
            InputProgress::Drained => buffer.fill(&mut socket.stream),
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
            None => buffer.clear(),
        }
        // Packets that wait for their turn are complete.
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
        let has_no_memory = self.note_read(now, connection, taken, incomplete);
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        if has_no_memory {
            socket.buffer = None;
        }
        // Nothing is read while a password is checked, so the end of the stream would not be seen. A client that only
        // closed its sending half cannot be distinguished from one that is gone, and is not worth a hash either.
        let is_gone = |id: &ConnectionId| socket.is_read_closed && self.broker.is_waiting(*id);
        if let Some(id) = socket.connection.filter(is_gone) {
            self.broker.handle_close(now, id);
            return self.close(now, id, index);
        }
        match (status, socket.connection) {
            // The broker names the connection when it may resume.
            (Ok(ReadStatus::More | ReadStatus::Drained), Some(_))
                if socket.progress == InputProgress::Blocked => {}
            (Ok(ReadStatus::Drained), _) if socket.progress == InputProgress::Drained => {}
            (Ok(ReadStatus::More | ReadStatus::Drained), _) => self.read_again(index),
            (status @ (Ok(ReadStatus::Closed) | Err(_)), Some(id)) => {
                // An error of a layer, such as TLS, explains the reason.
                let explained = status.err().filter(|error| error.get_ref().is_some());
                if let Some(error) = explained {
                    let peer = self.broker.peer(id).to_owned();
                    let limiter = self.broker.log_limiter();
                    if limiter.admits_from(now, LogEvent::TransportFailed, &peer) {
                        let error = error.to_string(); // it may quote the peer
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
