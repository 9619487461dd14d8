//! What the loop reads: new connections, the bytes of those that are there, and when nothing is read from one.

use std::time::Instant;

use mio::event::Event;
use mio::{Interest, Token};
use mqtt_session::Excerpt;
use mqtt_transport::ReadStatus;

use super::{ACCEPT_PAUSE, Journal, MAXIMUM_UNWRITTEN, Server};
use crate::crowding::PAUSE;
use crate::log_limiter::LogEvent;
use crate::peers::Peer;
use crate::{CONNECTIONS, ConnectionId, EVENTS};

impl Server {
    pub(super) fn accept(&mut self, now: Instant, index: usize) {
        if self.retry_accept.is_some() {
            return; // not before that
        }
        let Some(bound) = self.listeners.get(index) else {
            return;
        };
        loop {
            let accepted = self.reserve.fill().and_then(|()| bound.listener.accept());
            let (mut stream, address) = match accepted {
                Ok(Some(accepted)) => {
                    self.cannot_accept = false;
                    accepted
                }
                Ok(None) => return,
                Err(error) => {
                    // Those who are connected are served on; the others wait in the backlog.
                    let is_first = !std::mem::replace(&mut self.cannot_accept, true);
                    let limiter = &mut self.broker.log_limiter;
                    if is_first && limiter.admits(now, LogEvent::CannotAccept, "") {
                        log::warn!(
                            target: EVENTS,
                            "Cannot accept a connection: {error}. Others wait until one goes."
                        );
                    }
                    self.retry_accept = Some(now + ACCEPT_PAUSE);
                    return;
                }
            };
            if self.has_too_many(index) {
                let limiter = &mut self.broker.log_limiter;
                if limiter.admits_from(now, LogEvent::TooMany, &address) {
                    log::warn!(target: EVENTS, "Connection from {address} closed: there are too many.");
                }
                continue;
            }
            let slot = self.peers.next_index();
            let token = Token(self.listeners.len() + slot);
            let interests = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = self.poll.registry().register(&mut stream, token, interests) {
                log::warn!(target: EVENTS, "Cannot serve {address}: {error}.");
                continue;
            }
            let limiter = &mut self.broker.log_limiter;
            if limiter.admits_from(now, LogEvent::Accepted, &address) {
                match bound.address.map(|bound| bound.port()) {
                    Some(port) => {
                        log::info!(target: CONNECTIONS, "New connection from {address} on port {port}.");
                    }
                    None => log::info!(target: CONNECTIONS, "New connection on {address}."),
                }
            }
            let id = self.broker.open(now, address, index as u32);
            let peer = Peer {
                unidentified: bound
                    .settings
                    .as_ref()
                    .and_then(|settings| settings.identity),
                ..Peer::new(stream, id, index)
            };
            self.peers.insert(slot, peer);
        }
    }

    fn has_too_many(&self, listener: usize) -> bool {
        let of_listener = self.broker.maximum_connections(listener as u32);
        let of_all = self.broker.maximum_connections_of_all();
        of_listener.is_some_and(|maximum| self.peers.count(listener) >= maximum)
            || of_all.is_some_and(|maximum| self.broker.connection_count() >= maximum)
    }

    pub(super) fn peer_is_ready(&mut self, index: usize, event: &Event) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.stream.handle_event(event);
        peer.is_read_closed |= event.is_read_closed() || event.is_error();
        if (event.is_readable() || event.is_read_closed() || event.is_error()) && !peer.is_ready {
            peer.is_ready = true;
            self.ready.push(index);
        }
        if event.is_writable() {
            self.writable.extend(peer.connection);
        }
    }

    /// Reads once from a peer and hands the bytes to the broker.
    pub(super) fn read(&mut self, now: Instant, index: usize) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.is_ready = false;
        let own = peer.buffer.take().or_else(|| self.spare_buffer.take());
        let mut buffer = own.unwrap_or_default();
        let is_behind = self.journal.as_ref().is_some_and(Journal::is_behind);
        let awaits_commit = |id| is_behind && self.broker.awaits_commit(id);
        let is_paused = peer.connection.is_some_and(awaits_commit);
        let blocked = is_paused
            || peer.is_crowding
            || peer.connection.is_some_and(|id| {
                self.broker.whole_output(id).len() >= MAXIMUM_UNWRITTEN
                    || self.broker.is_waiting(id)
            });
        if is_paused && !std::mem::replace(&mut peer.is_paused, true) {
            self.paused.push(index);
        }
        let status = match blocked {
            true => Ok(ReadStatus::More),
            false => buffer.fill(&mut peer.stream),
        };
        match peer.connection {
            Some(id) => {
                if let Some(name) = peer.identity() {
                    self.broker.identify(id, name);
                }
                let mut input = buffer.unread();
                let available = input.len();
                self.broker.handle_input(now, id, &mut input);
                buffer.consume(available - input.len());
                if let Some(client) = self.broker.take_crowded(id).filter(|_| !peer.is_crowding) {
                    peer.is_crowding = true;
                    self.crowding.push((now + PAUSE, index, client));
                }
            }
            None => buffer.clear(),
        }
        match buffer.is_empty() {
            false => peer.buffer = Some(buffer),
            true => {
                buffer.clear();
                self.spare_buffer = Some(buffer);
            }
        }
        // Nothing is read while a password is checked, so the end of the stream would not be seen. A client that only
        // closed its sending half cannot be told from one that is gone, and is not worth a hash either.
        let is_gone = |id: &ConnectionId| peer.is_read_closed && self.broker.is_waiting(*id);
        if let Some(id) = peer.connection.filter(is_gone) {
            self.broker.handle_close(now, id);
            return self.close(now, id, index);
        }
        match (status, peer.connection) {
            // Tried again when something was written, its password was checked, or a commit is done.
            (Ok(ReadStatus::More), _) if blocked => {}
            (Ok(ReadStatus::More), _) => {
                peer.is_ready = true;
                self.ready.push(index);
            }
            (Ok(ReadStatus::Drained), _) => {}
            (status @ (Ok(ReadStatus::Closed) | Err(_)), Some(id)) => {
                // TLS and the like say why.
                let explained = status.err().filter(|error| error.get_ref().is_some());
                if let Some(error) = explained {
                    let peer = self.broker.peer(id).to_owned();
                    let limiter = &mut self.broker.log_limiter;
                    if limiter.admits_from(now, LogEvent::TransportFailed, &peer) {
                        let error = error.to_string(); // it may quote the peer
                        let error = Excerpt(&error);
                        log::warn!(target: EVENTS, "Connection from {peer} failed: {error}.");
                    }
                }
                self.end_unreadable(now, id, index);
            }
            (Ok(ReadStatus::Closed) | Err(_), None) => self.peers.remove(index),
        }
    }

    /// Reads again from those who have filled a queue, once it is shorter or their time is over.
    pub(super) fn end_crowding(&mut self, now: Instant) {
        if self.crowding.is_empty() {
            return;
        }
        let crowding = std::mem::take(&mut self.crowding);
        for (until, index, client) in crowding {
            if now < until && self.broker.is_crowded(now, client) {
                self.crowding.push((until, index, client));
            } else if let Some(peer) = self.peers.get_mut(index) {
                peer.is_crowding = false; // or another, at this place, which is none
                self.read_again(index);
            }
        }
    }
}
