//! [`StoreWriter`]: commits to the store in a thread of its own, one at a time. A disk may take seconds,
//! and the loop has others to serve meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;
use std::{io, thread};

use mio::Waker;
use mqtt_broker_core::Mutation;

use crate::store::Timeline;
use crate::{Clock, Store, StoreError, SyncPolicy};

/// With less room than this in bytes a store is not opened again.
const ROOM: usize = 64 * 1024;

/// The thread, and what comes back from it.
#[derive(Debug)]
pub(crate) struct StoreWriter {
    to_do: SyncSender<Commit>,
    done: Receiver<Done>,
}

/// What is to be done.
pub(crate) struct Commit {
    /// None: it is to be opened again.
    pub(crate) store: Option<Store>,
    pub(crate) path: PathBuf,
    pub(crate) policy: SyncPolicy,
    /// The time of the store, in which it is opened again.
    pub(crate) timeline: Timeline,
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) clock: Clock,
    /// Whether the mutations have to be on the disk in the end, whatever the policy.
    pub(crate) is_sync: bool,
}

/// What became of it.
pub(crate) struct Done {
    /// None: it could not be opened again.
    pub(crate) store: Option<Store>,
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) result: Result<(), StoreError>,
}

impl StoreWriter {
    /// Starts the thread, which ends with this. `waker` is woken for each result.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let (to_do, commits) = sync_channel::<Commit>(1);
        let (to_tell, done) = sync_channel(1);
        thread::Builder::new().name("store".into()).spawn(move || {
            for commit in commits {
                if to_tell.send(commit.run()).is_err() {
                    return;
                }
                let _ = waker.wake(); // a loop that is gone needs no waking
            }
        })?;
        Ok(Self { to_do, done })
    }

    /// Begins a commit.
    ///
    /// # Errors
    /// If the thread is gone, or has another one.
    pub(crate) fn begin(&self, commit: Commit) -> Result<(), StoreError> {
        self.to_do.try_send(commit).map_err(|_| StoreError::Gone)
    }

    /// The commit that has begun, if it is done.
    ///
    /// # Errors
    /// If the thread is gone.
    pub(crate) fn poll(&self) -> Result<Option<Done>, StoreError> {
        match self.done.try_recv() {
            Ok(done) => Ok(Some(done)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(StoreError::Gone),
        }
    }

    /// The same, and waits for it.
    ///
    /// # Errors
    /// As `poll`, and if it takes longer than that.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<Done, StoreError> {
        let done = self.done.recv_timeout(timeout);
        done.map_err(|error| match error {
            RecvTimeoutError::Timeout => StoreError::TooSlow,
            RecvTimeoutError::Disconnected => StoreError::Gone,
        })
    }
}

impl Commit {
    /// Does it.
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
        match self.is_sync {
            true => store.sync(&self.mutations, self.clock),
            false => store.commit(&self.mutations, self.clock),
        }
    }

    /// The file again, if there is some room beside it: opening it reads all of it.
    fn reopen(&self) -> Result<Store, StoreError> {
        let probe = self.path.with_extension("room");
        let written = std::fs::write(&probe, [0; ROOM]);
        let _ = std::fs::remove_file(&probe);
        written.map_err(|error| StoreError::Access(Box::new(error.into())))?;
        Store::reopen(&self.path, self.policy, self.clock, self.timeline)
    }
}
