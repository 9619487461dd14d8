//! [`Store`]: the stored state of the broker, in one file. Each call of [`Store::commit`] is one commit: after a crash,
//! the file has either all mutations of the commit or none.
//!
//! The file is a database of redb, which is crash safe: a commit writes new pages beside the old ones, syncs them, and
//! then switches to them with a checksummed header. `tables.rs` describes the tables, `encoding.rs` the values, and
//! `clock.rs` the time of the deadlines. `writer.rs` runs the commits in a thread.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_broker_core::{EVENTS, Mutation, Snapshot};
use mqtt_codec::{Message, TopicName};
use redb::{Database, DatabaseError, ReadableTable, StorageBackend, TableError};

use crate::store::clock::{Anchor, CHECK_INTERVAL, Clock, Timeline};
use crate::store::encoding::{self, Reader, Times, Writer};
use crate::store::error::{StoreError, access};
use crate::store::file::{Measured, Size};
use crate::store::loading;
use crate::store::sync_policy::SyncPolicy;
use crate::store::tables::{META, Summary, Tables};

/// The number of the format of keys and values. A store with another number is rejected.
const FORMAT: [u8; 8] = 4u64.to_be_bytes();

/// The key of the time anchor in the table `meta`.
const TIME: &[u8] = b"time";

const OTHER_FORMAT: StoreError = StoreError::Corrupt("unknown format");

/// The size of the page cache of redb in bytes.
const CACHE: usize = 4 * 1024 * 1024;

/// The file size in bytes up to which a file is never shrunk.
const SMALL: u64 = 4 * 1024 * 1024;

/// The number of stored bytes up to which the file is shrunk while the broker runs. Commits wait while the file is
/// shrunk, and moving this many bytes takes a fraction of a second.
const MOVED_AT_ONCE: u64 = 8 * 1024 * 1024;

/// The delay before the file is shrunk. Messages are often removed in many commits, so shrinking after the first of
/// them would have to be repeated.
const SHRINK_DELAY: Duration = Duration::from_secs(2);

/// The store of a broker.
pub struct Store {
    database: Database,
    /// The bytes of the file that are in use.
    size: Size,
    /// The maximum file size in bytes. A larger file is shrunk even if more than `MOVED_AT_ONCE` bytes are stored.
    limit: u64,
    /// The stored bytes and the file size after the file was last shrunk.
    shrunk: (u64, u64),
    /// The time at which the file is shrunk. `None` while shrinking is not worthwhile.
    shrink_due: Option<Instant>,
    /// The totals of the tables.
    summary: Summary,
    /// The time of the store in this run.
    timeline: Timeline,
    /// The time anchor that was last written to the file.
    anchor: Anchor,
    /// The time at which the wall clock is compared with the anchor again.
    check_due: Instant,
    policy: SyncPolicy,
    /// The time of the first commit that was not synced. `None` if all commits are as durable as the policy requires.
    unsynced_since: Option<Instant>,
}

impl Store {
    /// Opens the file at `path`, or creates it. `clock` is the current time, from which the stored deadlines continue.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened, is corrupt, is not a store, or is locked by another broker.
    pub fn open(path: &Path, policy: SyncPolicy, clock: Clock) -> Result<Self, StoreError> {
        let (mut database, size) = Self::database(path, policy)?;
        // redb has already repaired the traces of a crash. If the checksums still do not match, the file was changed
        // later. An older state in the file must not be used instead, because it lacks messages that were acknowledged.
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => return Err(StoreError::Corrupt("the checksums do not match")),
            Err(error) => return Err(StoreError::Open(path.to_owned(), Box::new(error.into()))),
        }
        let mut store = Self::new((database, size), policy, clock, None)?;
        // Shrinking may take long here, because no connection waits for a commit yet.
        if store.has_much_room() {
            store.shrink().map_err(access)?;
        }
        Ok(store)
    }

    /// Opens the file again after a failure in the same run. The time of the store continues with `timeline`.
    ///
    /// # Errors
    /// Returns an error as [`Store::open`] does, but does not verify the checksums of the whole file.
    pub(crate) fn reopen(
        path: &Path,
        policy: SyncPolicy,
        clock: Clock,
        timeline: Timeline,
    ) -> Result<Self, StoreError> {
        Self::new(Self::database(path, policy)?, policy, clock, Some(timeline))
    }

    /// Opens the database in the file.
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

    /// Opens a store on a backend that is not a file, for tests and the simulation.
    ///
    /// # Errors
    /// Returns an error if the backend cannot be read or written, or has no valid store.
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

    /// Makes the store of a database: checks the format, continues the time, writes a new anchor and counts the
    /// entries. `known` is the timeline of this run, if the store was open before.
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
            // If the file is opened again in the same run, the timeline continues. After a restart, the elapsed time is
            // computed from the anchor.
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

    /// Commits these mutations, all or none. The sync policy decides when the commit is synced.
    ///
    /// # Errors
    /// Returns an error if the commit fails. The caller must then not write the acknowledgements that depend on these
    /// mutations, and must not use this store again.
    pub fn commit(&mut self, mutations: &[Mutation], clock: Clock) -> Result<(), StoreError> {
        self.commit_with(mutations, clock, false)
    }

    /// Commits mutations, and renews the anchor if `renews_anchor` is set.
    fn commit_with(
        &mut self,
        mutations: &[Mutation],
        clock: Clock,
        renews_anchor: bool,
    ) -> Result<(), StoreError> {
        let result = self.write(mutations, clock, renews_anchor);
        result.map_err(|error| StoreError::Access(Box::new(error)))
    }

    /// Returns the time at which the caller must call `commit` even without mutations: for a sync, to shrink the file,
    /// or to compare the clocks.
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

    /// Commits mutations and syncs them with all earlier commits. Also renews the anchor, so that the time of the store
    /// is exact if the broker ends now.
    ///
    /// # Errors
    /// Returns an error as [`Store::commit`] does.
    pub fn sync(&mut self, mutations: &[Mutation], clock: Clock) -> Result<(), StoreError> {
        let policy = std::mem::take(&mut self.policy);
        let result = self.commit_with(mutations, clock, true);
        self.policy = policy;
        result
    }

    /// Writes the mutations in one transaction, and the time anchor if it is outdated or `renews_anchor` is set.
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
        // The file is shrunk in a commit without mutations, so that no acknowledgement waits for this commit.
        if !has_mutations && self.shrink_due.is_some_and(|due| due <= clock.now) {
            self.shrink()?;
        }
        if !has_mutations && !renews_anchor && self.unsynced_since.is_none() {
            return Ok(()); // the call only compared the clocks
        }
        let mut transaction = self.database.begin_write()?;
        let since = *self.unsynced_since.get_or_insert(clock.now);
        let may_wait = match self.policy {
            SyncPolicy::Interval(interval) => clock.now < since + interval,
            SyncPolicy::Always | SyncPolicy::Never => false,
        };
        // redb then makes the commit durable only together with the next commit that is synced.
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

    /// Sets the maximum file size in bytes. A larger file is shrunk if less than half of the limit is stored.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Returns the number of bytes of the file that are in use, including free pages between used ones.
    pub fn size(&self) -> u64 {
        self.size.get()
    }

    /// Returns the number of bytes of all keys and values.
    pub fn stored_bytes(&self) -> u64 {
        self.summary.bytes
    }

    /// Returns `true` if the file is not small and at least three quarters of it are free.
    fn has_much_room(&self) -> bool {
        self.size() > SMALL && self.size() / 4 > self.summary.bytes
    }

    /// Returns `true` if the file must be shrunk while the broker runs. Shrinking moves the stored bytes while commits
    /// wait. So the file is shrunk only if few bytes are stored, or if it exceeds its limit.
    fn is_worth_shrinking(&self) -> bool {
        let stored = self.summary.bytes;
        let is_little = stored <= MOVED_AT_ONCE;
        let is_necessary = self.size() > self.limit && stored < self.limit / 2;
        // redb cannot always remove all free pages. Shrinking is not tried again until the file has grown, or until
        // less is stored than after the last attempt.
        let (stored_before, size_before) = self.shrunk;
        let is_new = self.size() / 2 > size_before || stored < stored_before / 4 * 3;
        is_new && (is_little && self.has_much_room() || is_necessary)
    }

    /// Removes free pages, so that the file becomes shorter.
    #[expect(clippy::result_large_err)] // boxed where it leaves the store
    fn shrink(&mut self) -> Result<(), redb::Error> {
        self.shrink_due = None;
        let before = self.size();
        // redb does not compact a file with commits that are not synced, so this commit syncs them.
        self.database.begin_write()?.commit()?;
        self.unsynced_since = None;
        self.database.compact()?;
        self.shrunk = (self.summary.bytes, self.size());
        log::debug!(target: EVENTS, "Compacted the store from {before} to {} bytes.", self.size());
        Ok(())
    }

    /// Decodes a value of one of the tables `clients`, `deliveries`, `messages`, `retained` and `subscriptions`, and
    /// encodes it again. The fuzz target of the store compares both values.
    ///
    /// # Errors
    /// Returns an error if the value is corrupt, or the table does not exist.
    pub fn rewrite_value(table: &str, value: &[u8], clock: Clock) -> Result<Vec<u8>, StoreError> {
        let (timeline, now) = (Timeline::new(clock.now), clock.now);
        let reader = Reader::new(value, Times { timeline, now });
        let writer = Writer::new(timeline);
        Ok(match table {
            "clients" => writer.client(&reader.client()?),
            "deliveries" => {
                let reference = encoding::shared_number(value);
                // The message of a shared delivery is not part of its value, so any message can be used.
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

    /// Reads the whole stored state. Deadlines that have passed are returned as the time of `clock`.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read, or is corrupt.
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
