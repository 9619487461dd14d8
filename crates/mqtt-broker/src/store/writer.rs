//! [`StoreWriter`]: the thread that commits to the store, one commit at a time. A sync may take seconds on a slow disk,
//! and the loop must serve other connections meanwhile. `server/commit_queue.rs` decides when a commit begins.

use crate::store::clock::Clock;
use crate::store::clock::Timeline;
use crate::store::database::Store;
use crate::store::error::StoreError;
use crate::store::sync_policy::SyncPolicy;
use mio::Waker;
use mqtt_broker_core::Mutation;
use mqtt_transport::{Worker, WorkerError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Number of bytes that must fit on the disk before a store is opened again.
const ROOM: usize = 64 * 1024;

/// The thread that commits to the store.
#[derive(Debug)]
pub(crate) struct StoreWriter {
    worker: Worker<Commit, Done>,
}

/// A commit for the thread. The thread gets the store with the commit and returns it with the result, so that the store
/// has one owner at each time and needs no lock.
pub(crate) struct Commit {
    /// The store. `None` if the thread must open it again.
    pub(crate) store: Option<Store>,
    pub(crate) path: PathBuf,
    pub(crate) policy: SyncPolicy,
    /// The time of the store, with which it is opened again.
    pub(crate) timeline: Timeline,
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) clock: Clock,
    /// Set if the mutations must be synced, whatever the policy is.
    pub(crate) is_sync: bool,
}

/// The result of a commit.
pub(crate) struct Done {
    /// The store. `None` if it could not be opened again.
    pub(crate) store: Option<Store>,
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) result: Result<(), StoreError>,
}

impl StoreWriter {
    /// Starts the thread, which ends when the `StoreWriter` is dropped. The thread wakes `waker` for each result.
    ///
    /// # Errors
    /// Returns an error if the system cannot start a thread.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let worker = Worker::start("store", waker, Commit::run)?;
        Ok(Self { worker })
    }

    /// Begins a commit.
    ///
    /// # Errors
    /// Returns an error if the thread has ended, or has not finished the commit before.
    pub(crate) fn begin(&mut self, commit: Commit) -> Result<(), StoreError> {
        self.worker.begin(commit).map_err(|_| StoreError::Gone)
    }

    /// Returns the result of the commit in progress if it is done.
    ///
    /// # Errors
    /// Returns an error if the thread has ended.
    pub(crate) fn poll(&mut self) -> Result<Option<Done>, StoreError> {
        let done = self.worker.poll().transpose();
        done.map_err(|_| StoreError::Gone)
    }

    /// Waits for the result of the commit in progress for at most `timeout`.
    ///
    /// # Errors
    /// Returns an error if the commit takes longer, or the thread has ended.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<Done, StoreError> {
        self.worker.wait(timeout).map_err(|error| match error {
            WorkerError::TimedOut => StoreError::TooSlow,
            _ => StoreError::Gone,
        })
    }
}

impl Commit {
    /// Opens the store if that is necessary, and makes the commit.
    pub(crate) fn run(mut self) -> Done {
        let result = self.commit();
        Done {
            store: self.store,
            mutations: self.mutations,
            result,
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if self.store.is_none() {
            self.store = Some(self.reopen()?);
        }
        let store = self.store.as_mut().ok_or(StoreError::Gone)?;
        if self.is_sync {
            store.sync(&self.mutations, self.clock)
        } else {
            store.commit(&self.mutations, self.clock)
        }
    }

    /// Opens the store again after the disk was full. First writes a small file beside it, because opening the store
    /// reads the whole file, which would be in vain while the disk is still full.
    fn reopen(&self) -> Result<Store, StoreError> {
        let probe = self.path.with_extension("room");
        let written = std::fs::write(&probe, [0; ROOM]);
        // The file is removed after a failed write too, because it may exist without its bytes.
        let _ = std::fs::remove_file(&probe);
        written.map_err(|error| StoreError::Access(Box::new(error.into())))?;
        Store::reopen(&self.path, self.policy, self.clock, self.timeline)
    }
}
