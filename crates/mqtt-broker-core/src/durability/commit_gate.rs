//! Which output may be written. Output that promises what is recorded waits for the commit of the record,
//! and the output behind it too, as the order stays. The rest does not wait: a commit takes as long as
//! the disk takes, and who waits for nothing notices nothing of it.
//!
//! A commit is of what was recorded before it began. What is recorded while it is made is for the next one,
//! so a connection that always has more to promise still gets its output, commit by commit.

use std::time::Instant;

use mqtt_codec::ReasonCode;
use mqtt_session::CloseReason;

use crate::broker::{Broker, ConnectionId};

/// How much of the output of one connection may be written. Positions count bytes
/// from its first promise on.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    written: u64,
    /// What stands before this may be written, if anything promises something.
    kept: u64,
    /// What stands before this promises what the commit makes durable that is being made.
    committing: Option<u64>,
    /// Whether there are promises behind that.
    is_open: bool,
}

impl Promises {
    fn are_kept(&self) -> bool {
        self.committing.is_none() && !self.is_open
    }

    /// How many of the bytes that wait may be written.
    fn writable(&self, waiting: usize) -> usize {
        match self.are_kept() {
            true => waiting,
            false => {
                usize::try_from(self.kept - self.written).map_or(waiting, |kept| kept.min(waiting))
            }
        }
    }

    /// What is pushed from now on promises something; says whether that is new.
    fn begin(&mut self) -> bool {
        if self.are_kept() {
            self.kept = self.written;
        }
        !std::mem::replace(&mut self.is_open, true)
    }

    /// Says whether no commit was under way before.
    fn commit_begins(&mut self, waiting: usize) -> bool {
        self.is_open = false;
        let end = self.written + waiting as u64;
        self.committing.replace(end).is_none()
    }

    fn commit_ends(&mut self) {
        if let Some(committing) = self.committing.take() {
            self.kept = committing;
        }
    }

    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count as u64;
    }
}

/// Connections whose output promises something.
#[derive(Debug, Default)]
pub(crate) struct Promising {
    /// By the commit that is being made.
    committing: Vec<ConnectionId>,
    /// By the next one.
    next: Vec<ConnectionId>,
}

impl Broker {
    /// The output of this connection promises what was just recorded, or is just about to be.
    pub(crate) fn promise(&mut self, id: ConnectionId) {
        if let Some(link) = self.connections.get_mut(id) {
            if link.promises.get_or_insert_default().begin() {
                self.promising.next.push(id);
            }
        }
    }

    /// Begins the commit of everything that `take_records` has returned.
    pub fn commit_begins(&mut self) {
        self.throttle.commit_begins();
        // Some are there still if it is tried again.
        let Promising { committing, next } = &mut self.promising;
        committing.retain(|id| self.connections.contains_key(*id));
        for id in next.drain(..) {
            let Some(link) = self.connections.get_mut(id) else {
                continue;
            };
            let waiting = link.connection.output().len();
            let promises = link.promises.get_or_insert_default();
            if promises.commit_begins(waiting) {
                committing.push(id);
            }
        }
    }

    /// Ends the commit: its records are durable, and output that waited for them may be written.
    pub fn commit_ends(&mut self) {
        self.throttle.commit_ends();
        self.resume_after_commit();
        for id in std::mem::take(&mut self.promising.committing) {
            let link = self.connections.get_mut(id);
            if let Some(promises) = link.and_then(|link| link.promises.as_mut()) {
                promises.commit_ends();
            }
            self.mark_changed(id);
        }
    }

    /// Ends these connections because what they wait for cannot be stored. Output that promises something is discarded
    /// and replaced by the reason, which waits for nothing.
    pub fn end_unkept(&mut self, now: Instant, ids: &[ConnectionId]) {
        for id in ids.iter().copied() {
            if self.has_ended(id) {
                continue; // its last output waits on, for as long as the socket lingers
            }
            let kept = self.output(id).len();
            let reason_code = ReasonCode::QuotaExceeded;
            if let Some(link) = self.connections.get_mut(id) {
                link.connection.disconnect_without(now, kept, reason_code);
            }
            let what = "there is no room to store what it waits for";
            self.handle_closed(now, id, &CloseReason::Protocol(reason_code, what));
            if let Some(link) = self.connections.get_mut(id) {
                link.promises = None;
            }
            self.mark_changed(id);
        }
        let connections = &self.connections;
        let promises = |id: &ConnectionId| {
            let link = connections.get(*id);
            link.is_some_and(|link| link.promises.is_some())
        };
        self.promising.committing.retain(promises);
        self.promising.next.retain(promises);
    }

    /// Returns `true` if output of this connection waits for a commit.
    pub fn awaits_commit(&self, id: ConnectionId) -> bool {
        let link = self.connections.get(id);
        let promises = link.and_then(|link| link.promises.as_ref());
        promises.is_some_and(|promises| !promises.are_kept())
    }

    /// Connections with output that waits for the commit that has begun; some may be gone.
    pub fn awaiting_commit(&self) -> &[ConnectionId] {
        &self.promising.committing
    }

    /// The bytes to write to this connection next: those that wait for no commit.
    pub fn output(&self, id: ConnectionId) -> &[u8] {
        let Some(link) = self.connections.get(id) else {
            return &[];
        };
        let output = link.connection.output();
        match &link.promises {
            None => output,
            Some(promises) => {
                let writable = promises.writable(output.len());
                output.get(..writable).unwrap_or(output)
            }
        }
    }

    /// All bytes to write to this connection, with those that wait for a commit.
    pub fn whole_output(&self, id: ConnectionId) -> &[u8] {
        let link = self.connections.get(id);
        link.map_or(&[], |link| link.connection.output())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_waits_for_the_commit_of_what_it_promises() {
        let mut promises = Promises::default();
        assert_eq!(promises.writable(10), 10);
        promises.wrote(10);
        assert!(promises.begin());
        assert!(!promises.begin(), "it is not new");
        assert_eq!(promises.writable(4), 0);
        promises.commit_begins(4);
        assert_eq!(promises.writable(9), 0);
        promises.commit_ends();
        assert_eq!(promises.writable(9), 9);
    }

    #[test]
    fn what_is_promised_during_a_commit_waits_for_the_next_one() {
        let mut promises = Promises::default();
        promises.begin();
        promises.commit_begins(4);
        promises.begin();
        assert_eq!(promises.writable(9), 0);
        promises.commit_ends();
        assert_eq!(promises.writable(9), 4);
        promises.wrote(3);
        promises.commit_begins(6);
        assert_eq!(promises.writable(8), 1);
        promises.commit_ends();
        assert_eq!(promises.writable(8), 8);
    }

    #[test]
    fn a_commit_that_is_tried_again_is_for_all_that_has_come_meanwhile() {
        let mut promises = Promises::default();
        promises.begin();
        assert!(promises.commit_begins(4));
        promises.begin();
        assert!(!promises.commit_begins(9), "it is in the list already");
        promises.commit_ends();
        assert_eq!(promises.writable(9), 9);
    }
}
