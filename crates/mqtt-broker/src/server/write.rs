//! The last step of a turn: ends a commit that is done, writes output to sockets, begins the next commit, and closes
//! the sockets of connections that have ended.

use std::time::Instant;

use mqtt_broker_core::{ConnectionId, EVENTS, InputProgress};

use super::commit_queue::{CommitQueue, Committed};
use super::{LINGER, Server, ServerError};
use crate::Clock;

/// Maximum number of passes over the changed connections in one turn. Writing to one connection may change others.
const MAXIMUM_PASSES: usize = 4;

/// Maximum number of bytes that one turn writes to all connections together. Without this limit, copies of a large
/// message for many clients would make the turn long.
const MAXIMUM_WRITTEN: usize = 16 * 1024 * 1024;

/// The unit of bytes in which outputs are compared. Connections with fewer such units are written to first.
const SMALL_OUTPUT: usize = 64 * 1024;

impl Server {
    /// Writes the output that waits for no commit, and begins the commit of the mutations that this turn has made.
    ///
    /// # Errors
    /// Returns an error if the store has failed.
    pub(super) fn write(&mut self, now: Instant) -> Result<(), ServerError> {
        self.end_commit(now)?;
        let mut changed = std::mem::take(&mut self.writable);
        let mut written = 0;
        for _ in 0..MAXIMUM_PASSES {
            // Writing may cause more output: queued messages follow when the output has room, and a broken socket may
            // cause the publication of a will.
            changed.extend(std::iter::from_fn(|| self.broker.poll_changed()));
            if changed.is_empty() {
                break;
            }
            // A connection may be in the list twice, because its socket has room and its state has changed.
            changed.sort_unstable();
            changed.dedup();
            // Small outputs are written first, so that PINGRESP does not wait for the large messages of other clients.
            changed.sort_by_key(|id| self.broker.output(*id).len() / SMALL_OUTPUT);
            let mut ids = std::mem::take(&mut changed).into_iter();
            for id in ids.by_ref() {
                written += self.broker.output(id).len();
                if let Err(index) = self.write_to(now, id) {
                    self.broker.handle_close(now, id);
                    self.close(now, id, index);
                }
                if written >= MAXIMUM_WRITTEN {
                    break;
                }
            }
            changed.extend(ids);
        }
        self.writable = changed; // the next turn writes the rest, after it has read from sockets
        self.writable
            .extend(std::iter::from_fn(|| self.broker.poll_changed()));
        self.begin_commit()?;
        // Connections that waited for a commit or for room in their output are read in the next turn.
        self.resume_connections();
        Ok(())
    }

    /// Passes the mutations of this turn to the commit queue, and begins a commit if one is due.
    fn begin_commit(&mut self) -> Result<(), ServerError> {
        let Some(commit_queue) = &mut self.commit_queue else {
            return Ok(());
        };
        // All mutations of a publication in slices must be in one commit. Until its end no commit begins, so mutations
        // of other connections wait too.
        if self.broker.holds_mutations() {
            return Ok(());
        }
        commit_queue.push(self.broker.take_mutations());
        // A reload may have changed the limit.
        commit_queue.set_limit(self.broker.limits().maximum_store_bytes);
        let is_store_above_limit = commit_queue.is_store_above_limit();
        if is_store_above_limit && !self.broker.is_store_above_limit() {
            let limit = self.broker.limits().maximum_store_bytes;
            log::warn!(
                target: EVENTS,
                "The store exceeds max_store_bytes ({limit} bytes). The broker rejects what it would have to store \
                 until the store is smaller."
            );
        } else if !is_store_above_limit && self.broker.is_store_above_limit() {
            log::info!(target: EVENTS, "The store is below max_store_bytes again.");
        }
        self.broker.set_store_above_limit(is_store_above_limit);
        if commit_queue.begin(Clock::now())? {
            self.broker.begin_commit();
        }
        self.broker.set_backlog(commit_queue.backlog());
        Ok(())
    }

    /// Ends the commit in progress if it is done, so that the output that waited for it may be written. If the disk is
    /// full, ends the connections that also waited for the previous attempt.
    fn end_commit(&mut self, now: Instant) -> Result<(), ServerError> {
        let committed = self
            .commit_queue
            .as_mut()
            .map(CommitQueue::poll)
            .transpose()?;
        match committed.flatten() {
            None => {}
            Some(Committed::All) => {
                self.broker.set_store_full(false);
                // With `sync interval` the commit may not be synced. Its mutations then still count as backlog,
                // although the output that waited for it may be written.
                let backlog = self.commit_queue.as_ref().map(CommitQueue::backlog);
                self.broker.end_commit();
                self.broker.set_backlog(backlog.unwrap_or_default());
                self.held.clear();
            }
            Some(Committed::NoRoom) => {
                self.broker.set_store_full(true);
                // These connections have waited since the previous attempt, a second ago. Without an answer their
                // clients could not react; now they can connect to another broker or try again later.
                let held = std::mem::take(&mut self.held);
                self.broker.end_uncommitted(now, &held);
                self.held = self.broker.awaiting_commit().to_vec();
            }
        }
        Ok(())
    }

    /// Writes the output of a connection to its socket.
    ///
    /// # Errors
    /// Returns the index of the socket if the socket is broken.
    fn write_to(&mut self, now: Instant, id: ConnectionId) -> Result<(), usize> {
        let Some(index) = self.sockets.index_of(id) else {
            return Ok(());
        };
        let Some(socket) = self.sockets.get_mut(index) else {
            return Ok(());
        };
        let output = self.broker.output(id);
        match socket.stream.write(output) {
            Ok(0) => {} // the socket has no room; `handle_ready` continues when it has
            Ok(count) => self.broker.consume_output(now, id, count),
            Err(_) => return Err(index),
        }
        if self.broker.has_ended(id) {
            self.end_socket(now, id, index);
        }
        Ok(())
    }

    /// Ends a connection whose input has ended. If the peer has ended TLS or WebSocket but not the socket, the answer
    /// to its TLS alert or Close frame is written first, and the socket stays open for at most [`LINGER`].
    pub(super) fn end_unreadable(&mut self, now: Instant, id: ConnectionId, index: usize) {
        self.broker.handle_close(now, id);
        let socket = self.sockets.get_mut(index);
        match socket
            .is_some_and(|socket| socket.stream.has_ended() && socket.stream.flush().is_ok())
        {
            true => self.end_socket(now, id, index),
            false => self.close(now, id, index),
        }
    }

    /// Begins to close the socket of a connection that the broker has ended. The last output is written, and then the
    /// bytes that the peer still sends are read and discarded. Both together take at most [`LINGER`].
    fn end_socket(&mut self, now: Instant, id: ConnectionId, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        if !socket.is_ending {
            socket.is_ending = true;
            self.lingering.push((now + LINGER, index));
        }
        // After the end of TLS or WebSocket no more output can be sent, so output that waits for a commit is dropped.
        let is_written = socket.stream.has_ended() || self.broker.whole_output(id).is_empty();
        if is_written && socket.stream.unsent() == 0 {
            self.linger(now, id, index);
        }
    }

    /// Removes a connection, whose last output was written, from the broker. The socket stays open until the peer
    /// closes it or [`LINGER`] is over.
    fn linger(&mut self, now: Instant, id: ConnectionId, index: usize) {
        self.broker.remove(now, id);
        self.sockets.by_connection.remove(id);
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        // `read` then discards the bytes of the peer.
        socket.connection = None;
        socket.buffer = None;
        socket.progress = InputProgress::Drained;
        if socket.stream.shut_down_writing().is_err() {
            return self.sockets.remove(index);
        }
        self.read_again(index);
    }

    /// Closes the sockets whose [`LINGER`] is over.
    pub(super) fn end_lingering(&mut self, now: Instant) {
        let due = self
            .lingering
            .iter()
            .take_while(|(until, _)| *until <= now)
            .count();
        let due: Vec<_> = self.lingering.drain(..due).collect();
        for (_, index) in due {
            // The socket may have been closed before, and a new socket may have its index. The new one is not ending.
            let Some(socket) = self
                .sockets
                .get_mut(index)
                .filter(|socket| socket.is_ending)
            else {
                continue;
            };
            match socket.connection {
                Some(id) => self.close(now, id, index),
                None => self.sockets.remove(index),
            }
        }
    }

    /// Removes the connection from the broker, and closes its socket immediately.
    pub(super) fn close(&mut self, now: Instant, id: ConnectionId, index: usize) {
        self.broker.remove(now, id);
        self.sockets.remove(index);
    }
}
