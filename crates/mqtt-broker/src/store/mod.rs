//! [`Store`]: the state that survives the broker, in one file. Each call of [`Store::commit`] is one commit: after a
//! crash, the file has either all of its mutations or none.
//!
//! The file is redb's, which is crash safe by itself: pages are written beside the old ones, and a
//! commit is a checksummed switch behind a sync. `tables.rs` describes the tables, and `encoding.rs` the
//! encoding of the values.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_broker_core::{EVENTS, Mutation, Snapshot};
use mqtt_codec::{Message, TopicName};
use redb::{Database, DatabaseError, ReadableTable, StorageBackend, TableError};

pub(crate) use self::clock::Timeline;
use self::clock::{Anchor, CHECK_INTERVAL};
pub use self::clock::{BootTime, Clock};
use self::encoding::{Reader, Times, Writer};
pub use self::error::StoreError;
use self::error::access;
use self::file::{Measured, Size};
use self::tables::{META, Summary, Tables};

mod clock;
mod encoding;
mod error;
mod file;
mod loading;
mod messages;
mod tables;
pub(crate) mod writer;

/// The format of keys and values. A store with another format is rejected.
const FORMAT: [u8; 8] = 4u64.to_be_bytes();

/// The key of the time anchor in the table `meta`.
const TIME: &[u8] = b"time";

const OTHER_FORMAT: StoreError = StoreError::Corrupt("unknown format");

/// Memory for pages, in bytes.
const CACHE: usize = 4 * 1024 * 1024;

/// A file of less than this is never shrunk.
const SMALL: u64 = 4 * 1024 * 1024;

/// While the broker runs, the file is shrunk only if not more than this is stored, which takes a fraction of a second.
const MOVED_AT_ONCE: u64 = 8 * 1024 * 1024;

/// Delay between the need to shrink the file and shrinking, so that removals in progress are finished.
const SHRINK_DELAY: Duration = Duration::from_secs(2);

/// The store of a broker.
pub struct Store {
    database: Database,
    size: Size,
    /// The limit of the file's size. A larger file is shrunk earlier.
    limit: u64,
    /// Stored bytes and file size when the file was shrunk last.
    shrunk: (u64, u64),
    /// The time at which the file is shrunk.
    shrink_due: Option<Instant>,
    summary: Summary,
    timeline: Timeline,
    /// The anchor in the file.
    anchor: Anchor,
    /// The time at which the wall clock is compared again.
    check_due: Instant,
    policy: SyncPolicy,
    /// The time of the first commit that may not be on the disk.
    unsynced_since: Option<Instant>,
}

/// The time at which a commit is synced to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// At each commit. An acknowledged message survives a loss of power.
    #[default]
    Always,
    /// After this time at the latest. A crash loses the messages of this time, or the last part of them.
    Interval(Duration),
    /// When the operating system decides. A crash of the broker alone loses nothing. A loss of power may leave a
    /// corrupt file.
    Never,
}

impl Store {
    /// Opens the file, or creates it. `clock` is the present time, from which the stored deadlines continue.
    ///
    /// # Errors
    /// If the file cannot be opened, is not a store, or is in use.
    pub fn open(path: &Path, policy: SyncPolicy, clock: Clock) -> Result<Self, StoreError> {
        let (mut database, size) = Self::database(path, policy)?;
        // What a crash has left is mended by now. What does not fit together still was altered since, and
        // an older state that may be in the file would take back what was acknowledged.
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => return Err(StoreError::Corrupt("the checksums do not match")),
            Err(error) => return Err(StoreError::Open(path.to_owned(), Box::new(error.into()))),
        }
        let mut store = Self::new((database, size), policy, clock, None)?;
        // No connection waits for a commit yet.
        if store.has_much_room() {
            store.shrink().map_err(access)?;
        }
        Ok(store)
    }

    /// Opens the file again, in the same run and after a failure. The time of the store continues as in `timeline`.
    ///
    /// # Errors
    /// As `open`.
    pub(crate) fn reopen(
        path: &Path,
        policy: SyncPolicy,
        clock: Clock,
        timeline: Timeline,
    ) -> Result<Self, StoreError> {
        Self::new(Self::database(path, policy)?, policy, clock, Some(timeline))
    }

    fn database(path: &Path, policy: SyncPolicy) -> Result<(Database, Size), StoreError> {
        let error =
            |error: DatabaseError| StoreError::Open(path.to_owned(), Box::new(error.into()));
        let file = Measured::open(path, policy).map_err(error)?;
        let size = file.size();
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        let database = builder.create_with_backend(file).map_err(error)?;
        Ok((database, size))
    }

    /// Opens a store on a backend that is not a file.
    ///
    /// # Errors
    /// As `open`.
    pub fn with_backend(backend: impl StorageBackend, clock: Clock) -> Result<Self, StoreError> {
        let backend = Measured::new(backend).map_err(redb::Error::from);
        let backend = backend.map_err(access)?;
        let size = backend.size();
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create_with_backend(backend)
            .map_err(access)?;
        Self::new((database, size), SyncPolicy::Always, clock, None)
    }

    fn new(
        (database, size): (Database, Size),
        policy: SyncPolicy,
        clock: Clock,
        known: Option<Timeline>,
    ) -> Result<Self, StoreError> {
        let (anchor, timeline);
        let mut summary = Summary::default();
        let transaction = database.begin_write().map_err(access)?;
        {
            let meta = transaction.open_table(META);
            let mut meta = meta.map_err(|error| match error {
                TableError::TableTypeMismatch { .. } => OTHER_FORMAT,
                other => access(other),
            })?;
            let key = b"format".as_slice();
            let is_there = match meta.get(key).map_err(access)? {
                None => false,
                Some(format) if format.value() == FORMAT => true,
                Some(_) => return Err(OTHER_FORMAT),
            };
            if !is_there {
                meta.insert(key, &FORMAT[..]).map_err(access)?;
            }
            let time = meta.get(TIME).map_err(access)?;
            let before = time.map(|time| Anchor::decode(time.value())).transpose()?;
            let after = before.map(|anchor| anchor.timeline(clock));
            timeline = known.or(after).unwrap_or_else(|| Timeline::new(clock.now));
            anchor = Anchor::new(timeline, clock);
            meta.insert(TIME, &anchor.encode()[..]).map_err(access)?;
            let mut tables = Tables::open(&transaction, &mut summary).map_err(access)?;
            tables.summarize().map_err(access)?;
        }
        transaction.commit().map_err(access)?;
        Ok(Self {
            database,
            size,
            limit: u64::MAX,
            shrunk: (u64::MAX, 0),
            shrink_due: None,
            summary,
            timeline,
            anchor,
            check_due: clock.now + CHECK_INTERVAL,
            policy,
            unsynced_since: None,
        })
    }

    /// Commits these mutations, all or none. The sync policy decides when they are on the disk.
    ///
    /// # Errors
    /// If the commit fails. The caller must then not write the acknowledgements that depend on these mutations.
    pub fn commit(&mut self, mutations: &[Mutation], clock: Clock) -> Result<(), StoreError> {
        self.commit_with(mutations, clock, false)
    }

    fn commit_with(
        &mut self,
        mutations: &[Mutation],
        clock: Clock,
        renews_anchor: bool,
    ) -> Result<(), StoreError> {
        let result = self.write(mutations, clock, renews_anchor);
        result.map_err(|error| StoreError::Access(Box::new(error)))
    }

    /// Returns the time at which a commit is needed, even without mutations.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sync_due = match (self.policy, self.unsynced_since) {
            (SyncPolicy::Interval(interval), Some(since)) => Some(since + interval),
            _ => None,
        };
        let dues = [sync_due, self.shrink_due, Some(self.check_due)];
        dues.into_iter().flatten().min()
    }

    /// Returns the time of the store in this run.
    pub(crate) fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Returns `true` if every commit is as durable as the policy requires.
    pub fn is_synced(&self) -> bool {
        self.unsynced_since.is_none()
    }

    /// Commits mutations, and makes everything durable that was committed before, with the time of this moment.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn sync(&mut self, mutations: &[Mutation], clock: Clock) -> Result<(), StoreError> {
        let policy = std::mem::take(&mut self.policy);
        let result = self.commit_with(mutations, clock, true);
        self.policy = policy;
        result
    }

    #[expect(clippy::result_large_err)] // boxed by its only caller
    fn write(
        &mut self,
        mutations: &[Mutation],
        clock: Clock,
        renews_anchor: bool,
    ) -> Result<(), redb::Error> {
        let has_mutations = !mutations.is_empty();
        let renews_anchor =
            renews_anchor || self.anchor.is_outdated(self.timeline, clock, has_mutations);
        self.check_due = clock.now + CHECK_INTERVAL;
        // In a commit of nothing: nobody waits for it, but for the next one.
        if !has_mutations && self.shrink_due.is_some_and(|due| due <= clock.now) {
            self.shrink()?;
        }
        if !has_mutations && !renews_anchor && self.unsynced_since.is_none() {
            return Ok(()); // the clock was looked at
        }
        let mut transaction = self.database.begin_write()?;
        let since = *self.unsynced_since.get_or_insert(clock.now);
        let may_wait = match self.policy {
            SyncPolicy::Interval(interval) => clock.now < since + interval,
            SyncPolicy::Always | SyncPolicy::Never => false,
        };
        if may_wait {
            transaction.set_durability(redb::Durability::None);
        }
        let mut tables = Tables::open(&transaction, &mut self.summary)?;
        tables.apply(mutations, self.timeline)?;
        drop(tables);
        if renews_anchor {
            self.anchor = Anchor::new(self.timeline, clock);
            let mut meta = transaction.open_table(META)?;
            meta.insert(TIME, &self.anchor.encode()[..])?;
        }
        transaction.commit()?;
        if !may_wait {
            self.unsynced_since = None;
        }
        if self.shrink_due.is_none() && self.is_worth_shrinking() {
            self.shrink_due = Some(clock.now + SHRINK_DELAY);
        }
        Ok(())
    }

    /// Sets the limit of the file's size. Above it the file is shrunk earlier.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Returns the number of bytes of the file that are in use, free pages between used ones included.
    pub fn size(&self) -> u64 {
        self.size.get()
    }

    /// Returns the number of stored bytes: keys and values.
    pub fn stored_bytes(&self) -> u64 {
        self.summary.bytes
    }

    /// Returns `true` if at least three quarters of the file are free.
    fn has_much_room(&self) -> bool {
        self.size() > SMALL && self.size() / 4 > self.summary.bytes
    }

    /// Returns `true` if the file is to be shrunk while the broker runs. That moves what is stored, and commits wait
    /// for it, so it has to be little, or necessary.
    fn is_worth_shrinking(&self) -> bool {
        let stored = self.summary.bytes;
        let is_little = stored <= MOVED_AT_ONCE;
        let is_necessary = self.size() > self.limit && stored < self.limit / 2;
        // What could not be given back last time is not tried again until there is more of it.
        let (stored_before, size_before) = self.shrunk;
        let is_new = self.size() / 2 > size_before || stored < stored_before / 4 * 3;
        is_new && (is_little && self.has_much_room() || is_necessary)
    }

    /// Gives free pages back to the file system.
    #[expect(clippy::result_large_err)] // boxed where it leaves the store
    fn shrink(&mut self) -> Result<(), redb::Error> {
        self.shrink_due = None;
        let before = self.size();
        // Commits that are not durable yet keep their pages, and redb does not compact then.
        self.database.begin_write()?.commit()?;
        self.unsynced_since = None;
        self.database.compact()?;
        self.shrunk = (self.summary.bytes, self.size());
        log::debug!(target: EVENTS, "Compacted the store from {before} to {} bytes.", self.size());
        Ok(())
    }

    /// Reads a value of one of the tables (`clients`, `deliveries`, `messages`, `retained`, `subscriptions`) and
    /// writes it again. A tool that checks a store does this for each value.
    ///
    /// # Errors
    /// If the value is corrupt, or the table does not exist.
    pub fn rewrite_value(table: &str, value: &[u8], clock: Clock) -> Result<Vec<u8>, StoreError> {
        let (timeline, now) = (Timeline::new(clock.now), clock.now);
        let reader = Reader::new(value, Times { timeline, now });
        let writer = Writer::new(timeline);
        Ok(match table {
            "clients" => writer.client(&reader.client()?),
            "deliveries" => {
                let reference = encoding::shared_number(value);
                // Any message will do: it is not written.
                let message = || Some(Arc::new(Message::new(TopicName::new("t").ok()?, "")));
                let outgoing = reader.delivery(|_| message())?;
                match reference {
                    Some(reference) => writer.shared_delivery(&outgoing, reference),
                    None => writer.inline_delivery(&outgoing),
                }
            }
            "messages" => writer.shared_message(&reader.shared_message()?),
            "retained" => writer.retained(&reader.retained()?),
            "subscriptions" => writer.subscription(&reader.subscription()?),
            _ => return Err(StoreError::Corrupt("unknown table")),
        })
    }

    /// Reads the whole stored state.
    ///
    /// # Errors
    /// If the store cannot be read, or is corrupt.
    pub fn load(&self, clock: Clock) -> Result<Snapshot, StoreError> {
        let transaction = self.database.begin_read().map_err(access)?;
        let times = Times {
            timeline: self.timeline,
            now: clock.now,
        };
        loading::load(&transaction, times)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
