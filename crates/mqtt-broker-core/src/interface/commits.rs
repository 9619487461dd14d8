//! The methods of [`Broker`] for a store: the mutations, the commits, and the stored state.

use std::time::Instant;

use crate::broker::Broker;
use crate::durability::commit_gate::CommitWaiters;
use crate::durability::mutation::Mutation;
use crate::durability::snapshot::{self, Snapshot};
use crate::keys::ConnectionId;
use crate::lifecycle::{close, restore};
use crate::limits::Backlog;
use crate::routing::fan_out;

impl Broker {
    /// Sets the number and the payload bytes of the mutations that were taken with [`Broker::take_mutations`] and are
    /// not durable. Only a caller whose commits may end before they are durable needs this method, for example with
    /// `sync interval`. Otherwise the broker counts the mutations from `begin_commit` and `end_commit`.
    pub fn set_backlog(&mut self, backlog: Backlog) {
        self.flow
            .throttle
            .set_backlog(&mut self.connections, backlog)
    }

    /// Returns the number and the payload bytes of all mutations that are not durable, taken or not.
    pub fn backlog(&mut self) -> Backlog {
        self.flow.throttle.backlog(&self.durability)
    }

    /// Returns `true` if `take_mutations` returns nothing now, because the mutations of a publication are not complete.
    pub fn holds_mutations(&self) -> bool {
        fan_out::holds_mutations(&self.durability, &self.flow, &self.resources)
    }

    /// Begins the commit of all mutations that `take_mutations` has returned. Output that was queued until now and
    /// depends on these mutations becomes writable with `end_commit`.
    pub fn begin_commit(&mut self) {
        self.flow.throttle.begin_commit();
        // `committing` is not empty if the previous commit failed on a full disk and is tried again.
        let CommitWaiters { committing, next } = &mut self.durability.waiters;
        committing.retain(|id| self.connections.contains_key(*id));
        for id in next.drain(..) {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            // All output that is queued now becomes writable with this commit. Later output may depend on later
            // mutations.
            let waiting = connection.protocol.output().len();
            let commit_gate = connection.commit_gate.get_or_insert_default();
            if commit_gate.begin_commit(waiting) {
                committing.push(id);
            }
        }
    }

    /// Ends the commit. The caller calls this when the mutations are durable; output that waited for them becomes
    /// writable.
    pub fn end_commit(&mut self) {
        self.flow.throttle.end_commit();
        self.flow
            .throttle
            .resume_after_commit(&mut self.connections);
        // A connection may have been removed since the commit began.
        for id in std::mem::take(&mut self.durability.waiters.committing) {
            let connection = self.connections.get_mut(id);
            if let Some(commit_gate) =
                connection.and_then(|connection| connection.commit_gate.as_mut())
            {
                commit_gate.end_commit();
            }
            self.connections.mark_changed(id);
        }
    }

    /// Ends these connections because their mutations cannot be stored. The broker discards the output that waits for
    /// the commit, and adds the reason, which waits for no commit: DISCONNECT with reason code 0x97 (Quota exceeded) in
    /// 5.0, or CONNACK if CONNECT was not answered yet.
    pub fn end_uncommitted(&mut self, now: Instant, ids: &[ConnectionId]) {
        close::end_uncommitted(self, now, ids)
    }

    /// Returns the connections with output that waits for the commit in progress. Some of them may have ended.
    pub fn awaiting_commit(&self) -> &[ConnectionId] {
        &self.durability.waiters.committing
    }

    /// Records mutations from now on, for `take_mutations`. A broker with a store needs this; without this call nothing
    /// is recorded and no output waits for a commit.
    pub fn record_mutations(&mut self) {
        self.durability.mutations.get_or_insert_default();
    }

    /// Returns the mutations since the last call, in the order in which they were made. The caller makes them durable
    /// between `begin_commit` and `end_commit`.
    ///
    /// Returns an empty list while a publication that makes mutations is delivered in slices. If its mutations were in
    /// two commits, a crash between the commits would deliver a message of QoS 2 twice: the publisher resends the
    /// message, because it was not acknowledged.
    pub fn take_mutations(&mut self) -> Vec<Mutation> {
        if fan_out::holds_mutations(&self.durability, &self.flow, &self.resources) {
            return Vec::new();
        }
        // The mutations of the last large publication are taken now, so the next one may begin.
        self.flow.release_fan_outs();
        self.flow.throttle.backlog(&self.durability); // counts the mutations that are taken now
        self.flow.throttle.take_counted();
        self.durability
            .mutations
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Restores the stored state into a new broker. Clients that were connected count as disconnected at `now`: their
    /// Will Delay Interval and their Session Expiry Interval begin.
    pub fn restore(&mut self, now: Instant, saved: Snapshot) {
        restore::restore(self, now, saved)
    }

    /// Returns the state that a store has when all mutations so far are committed. Deadlines that have passed are
    /// replaced by `now`. The simulation compares this state with its store.
    pub fn save(&self, now: Instant) -> Snapshot {
        snapshot::save(&self.connections, &self.sessions, &self.topics, now)
    }

    /// Returns `true` if mutations were made that `take_mutations` has not returned yet.
    pub fn has_mutations(&self) -> bool {
        self.durability.mutation_count() > 0
    }
}
