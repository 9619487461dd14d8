//! [`Journal`]: makes what the broker records durable, and keeps what it could not while the disk is full.
//!
//! A full disk is not the end: what waits for a commit waits, nothing that depends on it is written, and
//! the store is opened anew until there is room. Every other failure of the store ends the broker, as
//! nobody knows then what is on the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Broker, Clock, EVENTS, Record, ServerError, Store, StoreError, SyncPolicy};

/// How long after a failure the store is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// With so many records an interval ends before its time.
const MAXIMUM_WAITING: usize = 100_000;

/// With so many bytes of payloads in them too.
const MAXIMUM_BYTES: usize = 64 * 1024 * 1024;

/// So many records may wait for room; clients that would make more are turned away before.
const MAXIMUM_HELD: usize = 1_000_000;

/// With less room than this in bytes the store is not tried.
const ROOM: usize = 64 * 1024;

/// The way from the records of a turn into the store.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    policy: SyncPolicy,
    /// None while the disk is full: what failed once is not used again.
    store: Option<Store>,
    /// Records that are not on the disk for sure, oldest first.
    waiting: Vec<Record>,
    /// So many of them were given to the store, which waits with its sync.
    committed: usize,
    /// The bytes of their payloads.
    bytes: usize,
    retry_at: Option<Instant>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// All that was recorded is as durable as the policy wants it.
    All,
    /// There is no room: connections whose output depends on it wait (`Broker::is_owed`).
    Not {
        /// Whether the store was tried just now.
        was_tried: bool,
    },
}

impl Journal {
    /// Opens the store, and lets the broker begin with what is in it.
    pub(super) fn open(
        path: &Path,
        policy: SyncPolicy,
        broker: &mut Broker,
    ) -> Result<Self, ServerError> {
        let mut store = Store::open(path, policy)?;
        let clock = Clock::now();
        let saved = store.load(clock)?;
        let (clients, retained) = (saved.clients.len(), saved.retained.len());
        log::info!(
            target: EVENTS,
            "Store {} opened: {clients} sessions, {retained} retained messages.",
            path.display()
        );
        broker.record_changes();
        broker.restore(clock.now, saved);
        // Sessions begin to expire now, and not again at the next start.
        store.sync(&broker.take_records(), clock)?;
        broker.committed();
        Ok(Self {
            path: path.to_owned(),
            policy,
            store: Some(store),
            waiting: Vec::new(),
            committed: 0,
            bytes: 0,
            retry_at: None,
        })
    }

    /// When `commit` wants to be called, even without records.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
            .or_else(|| self.store.as_ref().and_then(Store::poll_timeout))
    }

    /// Makes the records of a turn durable, behind those that wait.
    pub(super) fn commit(
        &mut self,
        records: Vec<Record>,
        clock: Clock,
    ) -> Result<Committed, StoreError> {
        let has_new = !records.is_empty();
        self.bytes += records.iter().map(Record::payload_length).sum::<usize>();
        self.waiting.extend(records);
        let is_due = self.poll_timeout().is_some_and(|due| due <= clock.now);
        match self.retry_at {
            Some(_) if !is_due => self.held(false),
            None if !has_new && !is_due => Ok(Committed::All),
            _ => match self.try_commit(clock) {
                Ok(()) => Ok(Committed::All),
                // Nothing was written where the store could not even be opened again.
                Err(error) if error.is_disk_full() || self.store.is_none() => {
                    self.disk_is_full(&error);
                    self.held(true)
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Makes everything durable: the broker ends.
    pub(super) fn sync(&mut self, clock: Clock) -> Result<(), StoreError> {
        self.policy = SyncPolicy::Always;
        self.try_commit(clock)
    }

    fn try_commit(&mut self, clock: Clock) -> Result<(), StoreError> {
        let is_anew = self.store.is_none();
        if is_anew {
            self.store = Some(self.reopen()?);
            self.committed = 0;
        }
        let is_too_much = self.is_too_much();
        let Some(store) = &mut self.store else {
            return Ok(()); // it is there now
        };
        let new = self.waiting.get(self.committed..).unwrap_or_default();
        // What has waited for room has waited long enough.
        let may_wait = matches!(self.policy, SyncPolicy::Interval(_)) && !is_anew;
        match may_wait && !is_too_much {
            true => store.commit(new, clock)?,
            false => store.sync(new, clock)?,
        }
        self.committed = self.waiting.len();
        if store.is_synced() {
            self.waiting.clear();
            (self.committed, self.bytes) = (0, 0);
        }
        if self.retry_at.take().is_some() {
            log::info!(target: EVENTS, "There is room again: what waited is stored.");
        }
        Ok(())
    }

    /// The file again, if there is some room beside it: opening it reads all of it.
    fn reopen(&self) -> Result<Store, StoreError> {
        let probe = self.path.with_extension("room");
        let written = std::fs::write(&probe, [0; ROOM]);
        let _ = std::fs::remove_file(&probe);
        let io = |error: io::Error| StoreError::Access(Box::new(error.into()));
        written.map_err(io)?;
        Store::reopen(&self.path, self.policy)
    }

    fn is_too_much(&self) -> bool {
        self.waiting.len() > MAXIMUM_WAITING || self.bytes > MAXIMUM_BYTES
    }

    fn held(&self, was_tried: bool) -> Result<Committed, StoreError> {
        // Their messages are those of the queues, which have limits of their own.
        if self.waiting.len() > MAXIMUM_HELD {
            return Err(StoreError::NoRoom);
        }
        Ok(Committed::Not { was_tried })
    }

    fn disk_is_full(&mut self, error: &StoreError) {
        self.store = None;
        if self.retry_at.replace(Instant::now() + RETRY).is_none() {
            log::error!(
                target: EVENTS,
                "There is no room for {}: {error}. Messages of QoS 1 and 2 are refused until there is.",
                self.path.display()
            );
        }
    }
}
