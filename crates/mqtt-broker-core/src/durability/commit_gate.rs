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
use crate::connection::{ConnectionId, Connections};
use crate::durability::Durability;
use crate::packets::close;

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
    pub(crate) fn is_durable(&self) -> bool {
        self.committing_to.is_none() && !self.is_open
    }

    /// How many of the bytes that wait may be written.
    pub(crate) fn writable(&self, waiting: usize) -> usize {
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
    pub(crate) fn begin_commit(&mut self, waiting: usize) -> bool {
        self.is_open = false;
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

/// Connections whose output promises something.
#[derive(Debug, Default)]
pub(crate) struct CommitWaiters {
    /// By the commit that is being made.
    pub(crate) committing: Vec<ConnectionId>,
    /// By the next one.
    pub(crate) next: Vec<ConnectionId>,
}

/// The output of this connection promises what was just recorded, or is just about to be.
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
            continue; // its last output waits on, for as long as the socket lingers
        }
        let kept = broker.connections.output(id).len();
        let reason_code = ReasonCode::QuotaExceeded;
        if let Some(connection) = broker.connections.get_mut(id) {
            connection
                .protocol
                .disconnect_without(now, kept, reason_code);
        }
        let what = "there is no room to store what it waits for";
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
