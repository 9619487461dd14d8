//! [`CommitGate`]: holds the output of a connection back until its mutations are durable.
//!
//! An acknowledgement (PUBACK, PUBREC) must not be written before the commit of the mutations that it stands for.
//! Output after it waits too, because the bytes must be written in order. Connections without such output do not wait,
//! however long the disk takes.
//!
//! A commit contains the mutations that were made before it began. Later ones belong to the next commit, so a
//! connection that always has new mutations still gets its output, commit by commit.

use std::time::Instant;

use mqtt_codec::ReasonCode;
use mqtt_session::CloseReason;

use crate::broker::Broker;
use crate::connection::{ConnectionId, Connections};
use crate::durability::Durability;
use crate::packets::close;

/// The part of one connection's output that may be written. Offsets count the bytes since the gate was created.
#[derive(Debug, Default)]
pub(crate) struct CommitGate {
    written: u64,
    /// Output before this offset may be written even while later output waits for a commit.
    durable_to: u64,
    /// Output before this offset becomes writable when the commit in progress ends.
    committing_to: Option<u64>,
    /// Set if this connection has output that waits for the next commit, in addition to any commit in progress.
    awaits_next_commit: bool,
}

impl CommitGate {
    pub(crate) fn is_durable(&self) -> bool {
        self.committing_to.is_none() && !self.awaits_next_commit
    }

    /// Returns how many of the `waiting` bytes may be written.
    pub(crate) fn writable(&self, waiting: usize) -> usize {
        match self.is_durable() {
            true => waiting,
            false => usize::try_from(self.durable_to - self.written)
                .map_or(waiting, |kept| kept.min(waiting)),
        }
    }

    /// Holds back all unwritten output that is not covered by a commit, either in progress or finished, until the next
    /// commit. Returns `true` if the connection was not yet waiting for the next commit.
    fn begin(&mut self) -> bool {
        if self.is_durable() {
            self.durable_to = self.written;
        }
        !std::mem::replace(&mut self.awaits_next_commit, true)
    }

    /// Begins the commit. Returns `true` if no commit was in progress before.
    pub(crate) fn begin_commit(&mut self, waiting: usize) -> bool {
        self.awaits_next_commit = false;
        let end = self.written + waiting as u64;
        self.committing_to.replace(end).is_none()
    }

    pub(crate) fn end_commit(&mut self) {
        if let Some(committing) = self.committing_to.take() {
            self.durable_to = committing;
        }
    }

    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count as u64;
    }
}

/// The connections whose output waits for a commit.
#[derive(Debug, Default)]
pub(crate) struct CommitWaiters {
    /// The connections that wait for the commit in progress.
    pub(crate) committing: Vec<ConnectionId>,
    /// The connections that wait for the next commit.
    pub(crate) next: Vec<ConnectionId>,
}

/// Holds back all unwritten output of this connection that is not covered by a commit, either in progress or finished.
/// The output depends on mutations that were just added, or will be added immediately.
pub(crate) fn hold_output(
    connections: &mut Connections,
    durability: &mut Durability,
    id: ConnectionId,
) {
    if let Some(connection) = connections.get_mut(id) {
        if connection.commit_gate.get_or_insert_default().begin() {
            durability.waiters.next.push(id);
        }
    }
}

/// Does the work of [`Broker::end_uncommitted`].
pub(crate) fn end_uncommitted(broker: &mut Broker, now: Instant, ids: &[ConnectionId]) {
    for id in ids.iter().copied() {
        if broker.connections.has_ended(id) {
            // The connection has already ended: its last output keeps waiting for the commit until the server closes
            // the socket.
            continue;
        }
        let kept = broker.connections.output(id).len();
        let reason_code = ReasonCode::QuotaExceeded;
        if let Some(connection) = broker.connections.get_mut(id) {
            connection
                .protocol
                .disconnect_without(now, kept, reason_code);
        }
        let what = "the broker has no room to store messages of this client";
        close::handle_closed(broker, now, id, &CloseReason::Protocol(reason_code, what));
        if let Some(connection) = broker.connections.get_mut(id) {
            connection.commit_gate = None;
        }
        broker.connections.mark_changed(id);
    }
    let connections = &broker.connections;
    let commit_gate = |id: &ConnectionId| {
        let connection = connections.get(*id);
        connection.is_some_and(|connection| connection.commit_gate.is_some())
    };
    broker.durability.waiters.committing.retain(commit_gate);
    broker.durability.waiters.next.retain(commit_gate);
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
