//! Which output may be written. Output that promises what is recorded waits for the commit of the record,
//! and the output behind it too, as the order stays. The rest does not wait: a commit takes as long as
//! the disk takes, and who waits for nothing notices nothing of it.
//!
//! A commit is of what was recorded before it began. What is recorded while it is made is for the next one,
//! so a connection that always has more to promise still gets its output, commit by commit.

use std::time::Instant;

use mqtt_codec::ReasonCode;
use mqtt_session::CloseReason;

use crate::broker::Broker;
use crate::connection::ConnectionId;

/// How much of the output of one connection may be written. Positions count bytes
/// from its first promise on.
#[derive(Debug, Default)]
pub(crate) struct CommitGate {
    written: u64,
    /// What stands before this may be written, if anything promises something.
    durable_to: u64,
    /// What stands before this promises what the commit makes durable that is being made.
    committing_to: Option<u64>,
    /// Whether there are promises behind that.
    is_open: bool,
}

impl CommitGate {
    fn is_durable(&self) -> bool {
        self.committing_to.is_none() && !self.is_open
    }

    /// How many of the bytes that wait may be written.
    fn writable(&self, waiting: usize) -> usize {
        match self.is_durable() {
            true => waiting,
            false => usize::try_from(self.durable_to - self.written)
                .map_or(waiting, |kept| kept.min(waiting)),
        }
    }

    /// What is pushed from now on promises something; says whether that is new.
    fn begin(&mut self) -> bool {
        if self.is_durable() {
            self.durable_to = self.written;
        }
        !std::mem::replace(&mut self.is_open, true)
    }

    /// Says whether no commit was under way before.
    fn begin_commit(&mut self, waiting: usize) -> bool {
        self.is_open = false;
        let end = self.written + waiting as u64;
        self.committing_to.replace(end).is_none()
    }

    fn end_commit(&mut self) {
        if let Some(committing) = self.committing_to.take() {
            self.durable_to = committing;
        }
    }

    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count as u64;
    }
}

/// Connections whose output promises something.
#[derive(Debug, Default)]
pub(crate) struct CommitWaiters {
    /// By the commit that is being made.
    committing: Vec<ConnectionId>,
    /// By the next one.
    next: Vec<ConnectionId>,
}

impl Broker {
    /// The output of this connection promises what was just recorded, or is just about to be.
    pub(crate) fn hold_output(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            if connection.commit_gate.get_or_insert_default().begin() {
                self.commit_waiters.next.push(id);
            }
        }
    }

    /// Begins the commit of everything that `take_mutations` has returned.
    pub fn begin_commit(&mut self) {
        self.throttle.begin_commit();
        // Some are there still if it is tried again.
        let CommitWaiters { committing, next } = &mut self.commit_waiters;
        committing.retain(|id| self.connections.contains_key(*id));
        for id in next.drain(..) {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            let waiting = connection.protocol.output().len();
            let commit_gate = connection.commit_gate.get_or_insert_default();
            if commit_gate.begin_commit(waiting) {
                committing.push(id);
            }
        }
    }

    /// Ends the commit: its mutations are durable, and output that waited for them may be written.
    pub fn end_commit(&mut self) {
        self.throttle.end_commit();
        self.resume_after_commit();
        for id in std::mem::take(&mut self.commit_waiters.committing) {
            let connection = self.connections.get_mut(id);
            if let Some(commit_gate) =
                connection.and_then(|connection| connection.commit_gate.as_mut())
            {
                commit_gate.end_commit();
            }
            self.mark_changed(id);
        }
    }

    /// Ends these connections because what they wait for cannot be stored. Output that promises something is discarded
    /// and replaced by the reason, which waits for nothing.
    pub fn end_uncommitted(&mut self, now: Instant, ids: &[ConnectionId]) {
        for id in ids.iter().copied() {
            if self.has_ended(id) {
                continue; // its last output waits on, for as long as the socket lingers
            }
            let kept = self.output(id).len();
            let reason_code = ReasonCode::QuotaExceeded;
            if let Some(connection) = self.connections.get_mut(id) {
                connection
                    .protocol
                    .disconnect_without(now, kept, reason_code);
            }
            let what = "there is no room to store what it waits for";
            self.handle_closed(now, id, &CloseReason::Protocol(reason_code, what));
            if let Some(connection) = self.connections.get_mut(id) {
                connection.commit_gate = None;
            }
            self.mark_changed(id);
        }
        let connections = &self.connections;
        let commit_gate = |id: &ConnectionId| {
            let connection = connections.get(*id);
            connection.is_some_and(|connection| connection.commit_gate.is_some())
        };
        self.commit_waiters.committing.retain(commit_gate);
        self.commit_waiters.next.retain(commit_gate);
    }

    /// Returns `true` if output of this connection waits for a commit.
    pub fn awaits_commit(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id);
        let commit_gate = connection.and_then(|connection| connection.commit_gate.as_ref());
        commit_gate.is_some_and(|commit_gate| !commit_gate.is_durable())
    }

    /// Connections with output that waits for the commit that has begun; some may be gone.
    pub fn awaiting_commit(&self) -> &[ConnectionId] {
        &self.commit_waiters.committing
    }

    /// The bytes to write to this connection next: those that wait for no commit.
    pub fn output(&self, id: ConnectionId) -> &[u8] {
        let Some(connection) = self.connections.get(id) else {
            return &[];
        };
        let output = connection.protocol.output();
        match &connection.commit_gate {
            None => output,
            Some(commit_gate) => {
                let writable = commit_gate.writable(output.len());
                output.get(..writable).unwrap_or(output)
            }
        }
    }

    /// All bytes to write to this connection, with those that wait for a commit.
    pub fn whole_output(&self, id: ConnectionId) -> &[u8] {
        let connection = self.connections.get(id);
        connection.map_or(&[], |connection| connection.protocol.output())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_waits_for_the_commit_of_what_it_promises() {
        let mut commit_gate = CommitGate::default();
        assert_eq!(commit_gate.writable(10), 10);
        commit_gate.wrote(10);
        assert!(commit_gate.begin());
        assert!(!commit_gate.begin(), "it is not new");
        assert_eq!(commit_gate.writable(4), 0);
        commit_gate.begin_commit(4);
        assert_eq!(commit_gate.writable(9), 0);
        commit_gate.end_commit();
        assert_eq!(commit_gate.writable(9), 9);
    }

    #[test]
    fn what_is_promised_during_a_commit_waits_for_the_next_one() {
        let mut commit_gate = CommitGate::default();
        commit_gate.begin();
        commit_gate.begin_commit(4);
        commit_gate.begin();
        assert_eq!(commit_gate.writable(9), 0);
        commit_gate.end_commit();
        assert_eq!(commit_gate.writable(9), 4);
        commit_gate.wrote(3);
        commit_gate.begin_commit(6);
        assert_eq!(commit_gate.writable(8), 1);
        commit_gate.end_commit();
        assert_eq!(commit_gate.writable(8), 8);
    }

    #[test]
    fn a_commit_that_is_tried_again_is_for_all_that_has_come_meanwhile() {
        let mut commit_gate = CommitGate::default();
        commit_gate.begin();
        assert!(commit_gate.begin_commit(4));
        commit_gate.begin();
        assert!(!commit_gate.begin_commit(9), "it is in the list already");
        commit_gate.end_commit();
        assert_eq!(commit_gate.writable(9), 9);
    }
}
