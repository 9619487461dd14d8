//! [`Throttle`]: the number of uncommitted mutations, the connections that wait for a commit, and those that may
//! resume. The reasons for which a connection waits are in `packets/wait.rs`.

use std::collections::VecDeque;
use std::time::Instant;

use crate::connection::Connections;
use crate::durability::mutation::{Mutation, payload_bytes};
use crate::durability::state::Durability;
use crate::keys::{ClientKey, ConnectionId};
use crate::limits::Backlog;
use crate::resources::Resources;

/// The state of the commits, and the connections that may resume.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// The mutations that `take_mutations` has returned and that are not durable.
    taken: Backlog,
    /// The part of `taken` that the commit in progress makes durable.
    committing: Backlog,
    /// The payload bytes of the first `counted` mutations that were not taken yet. The backlog is computed before each
    /// packet, so mutations that are included in this sum are not counted again.
    own_bytes: usize,
    /// The number of mutations that `own_bytes` includes.
    counted: usize,
    /// The number of the newest commit that has begun.
    begun: u64,
    /// The number of the newest commit that is done.
    pub(crate) done: u64,
    /// Connections that make no more mutations until a commit is done.
    pub(crate) awaiting_commit: Vec<ConnectionId>,
    /// Connections that may resume, in the order in which `poll_resumable` returns them.
    pub(crate) resumable: VecDeque<ConnectionId>,
    /// Publishers that wait because the queue of a subscriber is more than half full: the end of the pause, the
    /// publisher, and the subscriber.
    pub(crate) throttled_publishers: Vec<(Instant, ConnectionId, ClientKey)>,
}

/// The backlog, compared with the soft and the hard limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// The backlog is below both limits: no connection waits.
    None,
    /// Connections with uncommitted mutations must not make more mutations.
    Soft,
    /// No connection may make more mutations.
    Hard,
}

impl Throttle {
    /// Moves the mutations that were counted to `taken`, because `take_mutations` returns them now.
    pub(crate) fn take_counted(&mut self) {
        self.taken.mutations += self.counted;
        self.taken.bytes += self.own_bytes;
        (self.counted, self.own_bytes) = (0, 0);
    }

    /// Begins the next commit, which makes all mutations in `taken` durable.
    pub(crate) fn begin_commit(&mut self) {
        self.begun += 1;
        self.committing = self.taken;
    }

    /// Ends the commit in progress, and subtracts its mutations from the backlog.
    pub(crate) fn end_commit(&mut self) {
        self.done = self.begun;
        let committed = std::mem::take(&mut self.committing);
        // `set_backlog` may have lowered `taken` during the commit, so the subtraction must not underflow.
        self.taken.mutations = self.taken.mutations.saturating_sub(committed.mutations);
        self.taken.bytes = self.taken.bytes.saturating_sub(committed.bytes);
    }

    /// Returns the number of the commit that will contain the mutations that are added now. A commit in progress does
    /// not contain them.
    pub(crate) fn next_commit(&self) -> u64 {
        self.begun + 1
    }

    /// Returns the time at which the first pause of a publisher ends.
    pub(crate) fn first_backpressure_end(&self) -> Option<Instant> {
        self.throttled_publishers
            .iter()
            .map(|(until, ..)| *until)
            .min()
    }

    /// Sets the number and the payload bytes of the mutations that the caller has taken and that are not durable.
    /// Throttled connections continue if the backlog is small enough.
    pub(crate) fn set_backlog(&mut self, connections: &mut Connections, backlog: Backlog) {
        self.taken = backlog;
        self.resume_after_commit(connections);
    }

    /// Returns the number and the payload bytes of all mutations that are not durable. Mutations since the last call
    /// are counted first.
    pub(crate) fn backlog(&mut self, durability: &Durability) -> Backlog {
        if let Some(mutations) = &durability.mutations {
            self.count(mutations);
        }
        Backlog {
            mutations: self.taken.mutations + self.counted,
            bytes: self.taken.bytes + self.own_bytes,
        }
    }

    /// Compares the backlog with the soft and the hard limit. Without a store, the result is always [`Pressure::None`].
    pub(crate) fn pressure(&mut self, durability: &Durability, resources: &Resources) -> Pressure {
        if durability.mutations.is_none() {
            return Pressure::None;
        }
        let backlog = self.backlog(durability);
        if backlog.reaches(resources.limits.maximum_commit_backlog) {
            Pressure::Hard
        } else if backlog.reaches(resources.limits.commit_backlog) {
            Pressure::Soft
        } else {
            Pressure::None
        }
    }

    /// Adds the connection to the list that `poll_resumable` returns.
    pub(crate) fn resume(&mut self, connections: &mut Connections, id: ConnectionId) {
        if let Some(connection) = connections.get_mut(id) {
            if !std::mem::replace(&mut connection.is_resumable, true) {
                self.resumable.push_back(id);
            }
        }
    }

    /// Resumes all connections that wait for a commit. `must_wait` checks each of these connections again before its
    /// next packet.
    pub(crate) fn resume_after_commit(&mut self, connections: &mut Connections) {
        for id in std::mem::take(&mut self.awaiting_commit) {
            if let Some(connection) = connections.get_mut(id) {
                connection.awaits_commit_room = false;
            }
            self.resume(connections, id);
        }
    }

    /// Records that the connection has uncommitted mutations, if there are more mutations now than `before`.
    pub(crate) fn note_mutations_of(
        &self,
        connections: &mut Connections,
        durability: &Durability,
        id: ConnectionId,
        before: usize,
    ) {
        // `is_throttled` compares this number with the last finished commit.
        if durability.mutation_count() > before {
            let commit = self.next_commit();
            if let Some(connection) = connections.get_mut(id) {
                connection.mutated_in = commit;
            }
        }
    }

    /// Counts the mutations that were added since the last call.
    fn count(&mut self, mutations: &[Mutation]) {
        let new = mutations.get(self.counted..).unwrap_or_default();
        self.own_bytes += payload_bytes(new);
        self.counted = mutations.len();
    }
}
