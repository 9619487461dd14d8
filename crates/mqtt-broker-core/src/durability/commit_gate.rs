//! [`CommitGate`]: holds the output of a connection back until its mutations are durable.
//!
//! PUBACK or PUBREC must not be written before the mutations of the acknowledged message are committed. The output
//! after the acknowledgement waits too, because bytes are written in their order. Connections without such output do
//! not wait, however long a commit takes.
//!
//! A commit contains the mutations that were made before it began. Later mutations belong to the next commit. When a
//! commit ends, the output that was queued before it began is written. So a connection that makes mutations all the
//! time still gets its output.

use crate::keys::ConnectionId;

/// The part of one connection's output that may be written. Offsets count bytes from the creation of the gate.
#[derive(Debug, Default)]
pub(crate) struct CommitGate {
    /// The number of bytes that were written.
    written: u64,
    /// Output before this offset may be written while later output waits for a commit. Unused while no output waits.
    durable_to: u64,
    /// Output before this offset becomes writable when the commit in progress ends.
    committing_to: Option<u64>,
    /// Set if this connection has output that waits for the next commit, in addition to any commit in progress.
    awaits_next_commit: bool,
}

impl CommitGate {
    /// Returns `true` if no output waits for a commit.
    pub(crate) fn is_durable(&self) -> bool {
        self.committing_to.is_none() && !self.awaits_next_commit
    }

    /// Returns the number of bytes that may be written now. `waiting` is the number of all bytes in the output.
    pub(crate) fn writable(&self, waiting: usize) -> usize {
        // While output waits, at most `writable` bytes are written, so `written` does not exceed `durable_to`.
        if self.is_durable() {
            waiting
        } else {
            usize::try_from(self.durable_to - self.written)
                .map_or(waiting, |kept| kept.min(waiting))
        }
    }

    /// Holds back output until the end of the next commit. Output that was queued before a commit in progress began
    /// becomes writable when that commit ends. Returns `true` if the connection was not yet waiting for the next
    /// commit.
    pub(crate) fn begin(&mut self) -> bool {
        // No commit covers the unwritten output, so all of it waits for the next commit.
        if self.is_durable() {
            self.durable_to = self.written;
        }
        !std::mem::replace(&mut self.awaits_next_commit, true)
    }

    /// Begins the next commit, which covers the first `waiting` bytes of the output. Returns `true` if no commit was in
    /// progress before.
    pub(crate) fn begin_commit(&mut self, waiting: usize) -> bool {
        self.awaits_next_commit = false;
        // After a failed commit on a full disk, the next attempt also covers the output that was queued in the
        // meantime.
        let end = self.written + waiting as u64;
        self.committing_to.replace(end).is_none()
    }

    /// Ends the commit in progress: the output that it covers may be written.
    pub(crate) fn end_commit(&mut self) {
        if let Some(committing) = self.committing_to.take() {
            self.durable_to = committing;
        }
    }

    /// Counts bytes that were written to the socket.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_waits_for_the_commit_that_it_depends_on() {
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
    fn output_added_during_a_commit_waits_for_the_next_commit() {
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
    fn retried_commit_includes_mutations_made_since() {
        let mut commit_gate = CommitGate::default();
        commit_gate.begin();
        assert!(commit_gate.begin_commit(4));
        commit_gate.begin();
        assert!(!commit_gate.begin_commit(9), "it is in the list already");
        commit_gate.end_commit();
        assert_eq!(commit_gate.writable(9), 9);
    }
}
