//! [`CommitQueue`]: passes the mutations of the broker to the thread that commits them, and keeps them while the disk
//! is full.
//!
//! The thread (`store/writer.rs`) makes one commit at a time. The mutations that are made during a commit belong to the
//! next commit, so all connections share one sync. If the disk is full, the mutations wait in this queue, and output
//! that depends on them is not written. The store is then opened again each second until the commit succeeds. Any other
//! failure of the store ends the broker, because the content of the disk is unknown.

use super::error::ServerError;
use crate::store::clock::Clock;
use crate::store::clock::Timeline;
use crate::store::database::Store;
use crate::store::error::StoreError;
use crate::store::sync_policy::SyncPolicy;
use crate::store::writer::{Commit, Done, StoreWriter};
use mio::Waker;
use mqtt_broker_core::{Backlog, Broker, ClientSnapshot, EVENTS, Expiry, Mutation, payload_bytes};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time from a failed commit on a full disk to the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// The mutations that are not durable, and the store.
#[derive(Debug)]
pub(super) struct CommitQueue {
    path: PathBuf,
    policy: SyncPolicy,
    /// The time base of the deadlines in the store, which must stay the same when the store is opened again.
    timeline: Timeline,
    /// The thread that commits.
    store_writer: StoreWriter,
    /// The store. `None` during a commit, when the thread owns the store, and while the disk is full, because a store
    /// that has failed must be opened again.
    store: Option<Store>,
    /// Set during a commit.
    is_busy: bool,
    /// The mutations that were committed without a sync, oldest first. They are committed again if the disk becomes
    /// full before they are durable.
    unsynced: Vec<Mutation>,
    /// The mutations for the next commit.
    waiting: Vec<Mutation>,
    /// The number of mutations in the commit in progress.
    committing: usize,
    /// The payload bytes of the mutations in `unsynced`, in `waiting`, and in the commit in progress.
    bytes: usize,
    /// The backlog at which the broker throttles connections. The store is then synced immediately and not only at the
    /// end of the sync interval, because the connections wait for it.
    maximum_unsynced: Backlog,
    /// The time of the next attempt, while the disk is full.
    retry_at: Option<Instant>,
    /// Set if the next commit must be synced, whatever the sync policy is, because a signal requested it.
    is_sync_requested: bool,
    /// Set during a commit that `request_sync` has requested.
    is_saving: bool,
    /// The maximum size of the store in bytes.
    limit: u64,
    /// The size of the store after the last commit.
    usage: Usage,
}

/// The size of a store after its last commit.
#[derive(Debug, Clone, Copy)]
struct Usage {
    /// The bytes of the file that are in use.
    file: u64,
    /// The bytes of all keys and values.
    stored: u64,
}

impl Usage {
    fn of(store: &Store) -> Self {
        Self {
            file: store.size(),
            stored: store.stored_bytes(),
        }
    }
}

/// The result of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// The mutations of the commit are as durable as the sync policy requires.
    All,
    /// The disk has no room. Connections that wait for the commit continue to wait.
    NoRoom,
}

impl CommitQueue {
    /// Opens the store, and restores its state into the broker.
    ///
    /// # Errors
    /// Returns an error if the store cannot be opened, is corrupt, or cannot be written.
    pub(super) fn open(
        path: &Path,
        policy: SyncPolicy,
        broker: &mut Broker,
        waker: Arc<Waker>,
    ) -> Result<Self, ServerError> {
        let clock = Clock::now();
        let error = |error| match error {
            StoreError::Corrupt(what) => ServerError::CorruptStore(path.to_owned(), what),
            error => error.into(),
        };
        let mut store = Store::open(path, policy, clock).map_err(error)?;
        let saved = store.load(clock).map_err(error)?;
        // Clients that are not counted have no session, but only a will, which `restore` publishes.
        let lasts = |client: &&ClientSnapshot| client.state.expiry != Expiry::WithConnection;
        let clients = saved.clients.iter().filter(lasts).count();
        let retained = saved.retained.len();
        log::info!(
            target: EVENTS,
            "Store {} opened: {clients} sessions, {retained} retained messages.",
            path.display()
        );
        broker.record_mutations();
        broker.restore(clock.now, saved);
        // The new deadlines are stored immediately, because the sessions of clients that were connected begin to expire
        // now. Otherwise their expiry would begin anew at each restart.
        store.sync(&broker.take_mutations(), clock)?;
        let maximum_unsynced = broker.commit_backlog();
        Ok(Self::new(store, path, policy, maximum_unsynced, waker)?)
    }

    pub(super) fn new(
        store: Store,
        path: &Path,
        policy: SyncPolicy,
        maximum_unsynced: Backlog,
        waker: Arc<Waker>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            policy,
            timeline: store.timeline(),
            store_writer: StoreWriter::start(waker)?,
            limit: u64::MAX,
            usage: Usage::of(&store),
            store: Some(store),
            is_busy: false,
            unsynced: Vec::new(),
            waiting: Vec::new(),
            committing: 0,
            bytes: 0,
            maximum_unsynced,
            retry_at: None,
            is_sync_requested: false,
            is_saving: false,
        })
    }

    /// Returns the size of the store's file in bytes.
    #[cfg(unix)] // only the status socket reports this number
    pub(super) fn file_size(&self) -> Option<u64> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some(metadata.len())
    }

    /// Returns the time at which `begin` must be called even if no mutation waits: for work of the store that is due
    /// ([`Store::poll_timeout`]), or for the next attempt on a full disk.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_busy {
            return None; // the thread wakes the loop at the end of the commit
        }
        self.retry_at
            .or_else(|| self.store.as_ref().and_then(Store::poll_timeout))
    }

    /// Adds mutations for the next commit. The broker bounds their number by throttling connections, according to
    /// `backlog`.
    pub(super) fn push(&mut self, mutations: Vec<Mutation>) {
        self.bytes += payload_bytes(&mutations);
        // In the usual case no mutation waits, and nothing is copied.
        if self.waiting.is_empty() {
            self.waiting = mutations
        } else {
            self.waiting.extend(mutations)
        }
    }

    /// Sets the limit of the store's size in bytes.
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Returns the bytes of the store's file that are in use.
    pub(super) fn size(&self) -> u64 {
        self.usage.file
    }

    /// Returns `true` if the store is larger than its limit, or will be when the waiting mutations are committed.
    pub(super) fn is_store_above_limit(&self) -> bool {
        // The file grows only with a commit. The waiting bytes are an estimate of what the next commit adds, so that
        // the limit is not exceeded by a whole backlog.
        let Usage { file, stored } = self.usage;
        file > self.limit || stored.saturating_add(self.bytes as u64) > self.limit
    }

    /// Returns the number and the payload bytes of the mutations that are not durable yet.
    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            mutations: self.waiting.len() + self.unsynced.len() + self.committing,
            bytes: self.bytes,
        }
    }

    /// Requests that the next commit is synced to the disk, regardless of the sync policy.
    pub(super) fn request_sync(&mut self) {
        log::info!(target: EVENTS, "Saving the store to {}.", self.path.display());
        self.is_sync_requested = true;
    }

    /// Returns `true` if the broker throttles connections because of the backlog.
    fn is_too_much(&self) -> bool {
        self.backlog().reaches(self.maximum_unsynced)
    }

    /// Begins a commit of all waiting mutations, if a commit is due. Returns `true` if a commit has begun.
    ///
    /// # Errors
    /// Returns an error if the thread that commits has ended.
    pub(super) fn begin(&mut self, clock: Clock) -> Result<bool, StoreError> {
        let is_late = self.poll_timeout().is_some_and(|due| due <= clock.now);
        // While connections are throttled, they wait until the unsynced mutations are durable too. So a sync is due
        // even if no new mutation waits.
        let is_due = is_late || self.is_too_much() && !self.unsynced.is_empty();
        let is_wanted = is_due || self.is_sync_requested;
        let has_to_wait = self.is_busy || self.retry_at.is_some() && !is_late;
        if has_to_wait || self.waiting.is_empty() && !is_wanted {
            return Ok(false);
        }
        // The store is missing only after the disk was full. The mutations have waited since then, so they are synced
        // immediately.
        let is_requested = std::mem::take(&mut self.is_sync_requested);
        self.is_saving |= is_requested;
        let is_sync = self.store.is_none() || self.is_too_much() || is_requested;
        let commit = self.next_commit(clock, is_sync);
        self.store_writer.begin(commit)?;
        self.is_busy = true;
        Ok(true)
    }

    /// Moves the store and all waiting mutations into a commit.
    fn next_commit(&mut self, clock: Clock, is_sync: bool) -> Commit {
        // The store needs the limit to decide when it must shrink.
        if let Some(store) = &mut self.store {
            store.set_limit(self.limit);
        }
        self.committing = self.waiting.len();
        Commit {
            store: self.store.take(),
            path: self.path.clone(),
            policy: self.policy,
            timeline: self.timeline,
            mutations: std::mem::take(&mut self.waiting),
            clock,
            is_sync,
        }
    }

    /// Returns the result of the commit in progress when it is done, and `None` before.
    ///
    /// # Errors
    /// Returns an error if the store has failed for another reason than a full disk.
    pub(super) fn poll(&mut self) -> Result<Option<Committed>, StoreError> {
        if !self.is_busy {
            return Ok(None);
        }
        let done = self.store_writer.poll()?;
        done.map(|done| self.finish_commit(done)).transpose()
    }

    /// Waits for the commit in progress, and makes all mutations durable, because the broker ends.
    ///
    /// # Errors
    /// Returns an error if the store has failed.
    pub(super) fn sync(&mut self, clock: Clock, timeout: Duration) -> Result<(), StoreError> {
        if self.is_busy {
            let done = self.store_writer.wait(timeout)?;
            self.finish_commit(done)?;
        }
        self.next_commit(clock, true).run().result
    }

    fn finish_commit(&mut self, done: Done) -> Result<Committed, StoreError> {
        self.is_busy = false;
        self.committing = 0;
        self.unsynced.extend(done.mutations);
        match done.result {
            Ok(()) => {}
            // If the store could not even be opened again, nothing was written, so another attempt is safe.
            Err(error) if error.is_disk_full() || done.store.is_none() => {
                self.handle_disk_full(&error);
                return Ok(Committed::NoRoom);
            }
            Err(error) => return Err(error),
        }
        self.store = done.store;
        if let Some(store) = &self.store {
            self.usage = Usage::of(store);
        }
        // Only durable mutations may be forgotten. The others are committed again after a full disk.
        if self.store.as_ref().is_some_and(Store::is_synced) {
            self.unsynced.clear();
            self.bytes = payload_bytes(&self.waiting);
        }
        if std::mem::take(&mut self.is_saving) {
            log::info!(target: EVENTS, "The store is saved.");
        }
        if self.retry_at.take().is_some() {
            log::info!(target: EVENTS, "The disk has room for the store again. All changes that waited are stored.");
        }
        Ok(Committed::All)
    }

    /// Keeps all mutations that are not durable for the next attempt, in their order.
    fn handle_disk_full(&mut self, error: &StoreError) {
        // The unsynced mutations come first, because they were made earlier. The store may have them already, and
        // applying a mutation again changes nothing.
        let newer = std::mem::take(&mut self.waiting);
        self.waiting = std::mem::take(&mut self.unsynced);
        self.waiting.extend(newer);
        if self.retry_at.replace(Instant::now() + RETRY).is_none() {
            log::error!(
                target: EVENTS,
                "The disk has no room for the store '{}': {error}. The broker rejects messages of QoS 1 and 2 until there is room.",
                self.path.display()
            );
        }
    }
}
