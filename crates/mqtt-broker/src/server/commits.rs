//! [`Commits`]: takes the mutations of the broker core in each turn and passes them to the commit queue. When a commit
//! is done, the output that waited for it may be written.

use super::commit_queue::{CommitQueue, Committed};
use super::error::ServerError;
use crate::store::clock::Clock;
use crate::store::sync_policy::SyncPolicy;
use mio::Waker;
use mqtt_broker_core::{Broker, ConnectionId, EVENTS};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The commits of the store, if there is one.
#[derive(Debug)]
pub(crate) struct Commits {
    pub(super) queue: Option<CommitQueue>,
    /// Connections that waited for the last commit, which failed because the disk is full. They are ended if the next
    /// attempt fails too.
    held: Vec<ConnectionId>,
    /// Wakes the loop when a commit is done.
    pub(super) waker: Arc<Waker>,
}

impl Commits {
    /// Returns a value without a store. The commit thread wakes `waker` when a commit is done.
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            queue: None,
            held: Vec::new(),
            waker,
        }
    }

    /// Opens the store, and restores its state into the broker.
    ///
    /// # Errors
    /// Returns an error if the store cannot be used.
    pub(crate) fn open(
        &mut self,
        broker: &mut Broker,
        path: &Path,
        policy: SyncPolicy,
    ) -> Result<(), ServerError> {
        let waker = Arc::clone(&self.waker);
        self.queue = Some(CommitQueue::open(path, policy, broker, waker)?);
        Ok(())
    }

    /// Passes the mutations of this turn to the commit queue, and begins a commit if one is due.
    ///
    /// # Errors
    /// Returns an error if the store has failed.
    pub(crate) fn begin_commit(&mut self, broker: &mut Broker) -> Result<(), ServerError> {
        let Some(commit_queue) = &mut self.queue else {
            return Ok(()); // nothing is stored
        };
        // All mutations of a publication in slices must be in one commit. Until its end no commit begins, so mutations
        // of other connections wait too.
        if broker.holds_mutations() {
            return Ok(());
        }
        commit_queue.push(broker.take_mutations());
        // A reload may have changed the limit.
        commit_queue.set_limit(broker.limits().maximum_store_bytes);
        let is_store_above_limit = commit_queue.is_store_above_limit();
        if is_store_above_limit && !broker.is_store_above_limit() {
            let limit = broker.limits().maximum_store_bytes;
            log::warn!(
                target: EVENTS,
                "The store exceeds max_store_bytes ({limit} bytes). The broker rejects what it would have to store \
                 until the store is smaller."
            );
        } else if !is_store_above_limit && broker.is_store_above_limit() {
            log::info!(target: EVENTS, "The store is below max_store_bytes again.");
        }
        broker.set_store_above_limit(is_store_above_limit);
        if commit_queue.begin(Clock::now())? {
            broker.begin_commit();
        }
        broker.set_backlog(commit_queue.backlog());
        Ok(())
    }

    /// Ends the commit in progress if it is done, so that the output that waited for it may be written. If the disk is
    /// full, ends the connections that also waited for the previous attempt.
    ///
    /// # Errors
    /// Returns an error if the store has failed.
    pub(crate) fn end_commit(
        &mut self,
        broker: &mut Broker,
        now: Instant,
    ) -> Result<(), ServerError> {
        let committed = self.queue.as_mut().map(CommitQueue::poll).transpose()?;
        match committed.flatten() {
            None => {}
            Some(Committed::All) => {
                broker.set_store_full(false);
                // With `sync interval` the commit may not be synced. Its mutations then still count as backlog,
                // although the output that waited for it may be written.
                let backlog = self.queue.as_ref().map(CommitQueue::backlog);
                broker.end_commit();
                broker.set_backlog(backlog.unwrap_or_default());
                self.held.clear();
            }
            Some(Committed::NoRoom) => {
                broker.set_store_full(true);
                // These connections have waited since the previous attempt, a second ago. Without an answer their
                // clients could not react; now they can connect to another broker or try again later.
                let held = std::mem::take(&mut self.held);
                broker.end_uncommitted(now, &held);
                self.held = broker.awaiting_commit().to_vec();
            }
        }
        Ok(())
    }

    /// Makes all mutations durable before the broker ends. A commit in progress has this much time to end.
    ///
    /// # Errors
    /// Returns an error if the store has failed.
    pub(crate) fn sync(
        &mut self,
        broker: &mut Broker,
        timeout: Duration,
    ) -> Result<(), ServerError> {
        if let Some(commit_queue) = &mut self.queue {
            commit_queue.push(broker.take_mutations());
            commit_queue.sync(Clock::now(), timeout)?;
        }
        Ok(())
    }

    /// Makes the next commit durable on the disk, regardless of the sync policy.
    pub(crate) fn request_sync(&mut self) {
        match &mut self.queue {
            Some(commit_queue) => commit_queue.request_sync(),
            None => {
                log::info!(target: EVENTS, "Nothing to save: 'persistence true' is not set.")
            }
        }
    }

    /// Returns the time at which `begin_commit` must be called, even without mutations.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.queue.as_ref().and_then(CommitQueue::poll_timeout)
    }

    /// Returns the size of the store's file in bytes, if there is one.
    #[cfg(unix)] // only the status socket reports this number
    pub(crate) fn file_size(&self) -> Option<u64> {
        self.queue.as_ref().and_then(CommitQueue::file_size)
    }

    /// Returns the size of the store in bytes, if there is one.
    pub(crate) fn store_size(&self) -> Option<u64> {
        self.queue.as_ref().map(CommitQueue::size)
    }
}
