//! [`Store`]: what survives the broker, in one file. The records of a turn are one commit: either all
//! of them are there after a crash, or none.
//!
//! The file is redb's, which is crash safe by itself: pages are written beside the old ones, and a
//! commit is a checksummed switch behind a sync. `tables.rs` says what is where, `encoding.rs` what the
//! values look like.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use mqtt_codec::{Message, TopicName};
use mqtt_session::Defect;
use redb::backends::FileBackend;
use redb::{Database, ReadableTable, StorageBackend, TableError};

pub(crate) use self::clock::Timeline;
use self::clock::{Anchor, CHECK_INTERVAL};
pub use self::clock::{BootTime, Clock};
use self::encoding::{Reader, Times, Writer};
use self::tables::{META, Summary, Tables};
use crate::{Record, Saved};

mod clock;
mod encoding;
mod loading;
mod messages;
mod tables;

/// The format of keys and values; another one is refused.
const FORMAT: [u8; 8] = 4u64.to_be_bytes();

/// Where the anchor of the store's time is in the table `meta`.
const TIME: &[u8] = b"time";

const OTHER_FORMAT: StoreError = StoreError::Damaged("another format");

/// Memory for pages, in bytes.
const CACHE: usize = 4 * 1024 * 1024;

/// The store of a broker.
pub struct Store {
    database: Database,
    summary: Summary,
    timeline: Timeline,
    /// The one in the file.
    anchor: Anchor,
    /// When the wall clock is looked at again.
    check_due: Instant,
    policy: SyncPolicy,
    /// Since when there are commits that are not on the disk for sure.
    unsynced_since: Option<Instant>,
}

/// When what is committed is on the disk for sure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// At each commit: what is acknowledged survives a loss of power.
    #[default]
    Always,
    /// So much later at most: a crash loses what came in this time, all of it or the end of it.
    Interval(Duration),
    /// When the system likes: a crash of the broker alone loses nothing, a loss of power may leave a file
    /// that is damaged.
    Never,
}

/// Why a store cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened, is no store, or another broker has it.
    Open(PathBuf, Box<redb::Error>),
    /// What it holds is not what this broker writes.
    Damaged(&'static str),
    /// It cannot be read or written. What was to be written is not durable.
    Access(Box<redb::Error>),
    /// The disk has been full for too long.
    NoRoom,
    /// The thread that uses it has ended.
    Gone,
    /// The disk has not answered in time.
    TooSlow,
}

impl StoreError {
    /// Whether it is the file: damaged, none, or in use; and not the system.
    pub fn is_about_the_file(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Open(_, error) => !matches!(**error, redb::Error::Io(ref io)
                if io.kind() != io::ErrorKind::InvalidData),
            Self::Access(_) | Self::NoRoom | Self::Gone | Self::TooSlow => false,
        }
    }

    /// Whether there is no room: then what is in the store stays valid, and it can be opened anew.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let (Self::Open(_, error) | Self::Access(error)) = self else {
            return false;
        };
        matches!(**error, redb::Error::Io(ref io)
            if matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}

impl Store {
    /// Opens the file, or makes it. `clock` is this moment, from which its deadlines go on.
    ///
    /// # Errors
    /// If it cannot be opened, is no store, or is in use.
    pub fn open(path: &Path, policy: SyncPolicy, clock: Clock) -> Result<Self, StoreError> {
        let mut database = Self::database(path, policy)?;
        // What a crash has left is mended by now. What does not fit together still was altered since, and
        // an older state that may be in the file would take back what was acknowledged.
        match database.check_integrity() {
            Ok(true) => Self::new(database, policy, clock, None),
            Ok(false) => Err(StoreError::Damaged("its checksums are wrong")),
            Err(error) => Err(StoreError::Open(path.to_owned(), Box::new(error.into()))),
        }
    }

    /// Opens the file once more, in the same run and after a failure. Its time goes on as in `timeline`.
    ///
    /// # Errors
    /// As `open`.
    pub(crate) fn reopen(
        path: &Path,
        policy: SyncPolicy,
        clock: Clock,
        timeline: Timeline,
    ) -> Result<Self, StoreError> {
        let database = Self::database(path, policy)?;
        Self::new(database, policy, clock, Some(timeline))
    }

    fn database(path: &Path, policy: SyncPolicy) -> Result<Database, StoreError> {
        let error = |error| StoreError::Open(path.to_owned(), Box::new(error));
        let file = private_file(path).map_err(|io| error(io.into()))?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        let database = match policy {
            SyncPolicy::Never => FileBackend::new(file)
                .and_then(|backend| builder.create_with_backend(Unsynced(backend))),
            SyncPolicy::Always | SyncPolicy::Interval(_) => builder.create_file(file),
        };
        database.map_err(|database| error(database.into()))
    }

    /// A store on something else than a file.
    ///
    /// # Errors
    /// As `open`.
    pub fn with_backend(backend: impl StorageBackend, clock: Clock) -> Result<Self, StoreError> {
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create_with_backend(backend)
            .map_err(access)?;
        Self::new(database, SyncPolicy::Always, clock, None)
    }

    fn new(
        database: Database,
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
            summary,
            timeline,
            anchor,
            check_due: clock.now + CHECK_INTERVAL,
            policy,
            unsynced_since: None,
        })
    }

    /// Makes the records of a turn durable, all or none, as soon as the policy wants it.
    ///
    /// # Errors
    /// If it cannot be done: then nothing may be acknowledged, and the broker has to end.
    pub fn commit(&mut self, records: &[Record], clock: Clock) -> Result<(), StoreError> {
        self.commit_with(records, clock, false)
    }

    fn commit_with(
        &mut self,
        records: &[Record],
        clock: Clock,
        renews_anchor: bool,
    ) -> Result<(), StoreError> {
        match self.write(records, clock, renews_anchor) {
            Err(_) if Defect::CommitErrorIgnored.is_planted() => Ok(()),
            result => result.map_err(|error| StoreError::Access(Box::new(error))),
        }
    }

    /// When something is to be made durable by a commit, even if there are no records.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sync_due = match (self.policy, self.unsynced_since) {
            (SyncPolicy::Interval(interval), Some(since)) => Some(since + interval),
            _ => None,
        };
        sync_due.into_iter().chain([self.check_due]).min()
    }

    /// Returns the time of the store in this run.
    pub(crate) fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Whether everything that was committed is as durable as the policy wants it.
    pub fn is_synced(&self) -> bool {
        self.unsynced_since.is_none()
    }

    /// Commits records, and makes everything durable that was committed before, with the time of this moment.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn sync(&mut self, records: &[Record], clock: Clock) -> Result<(), StoreError> {
        let policy = std::mem::take(&mut self.policy);
        let result = self.commit_with(records, clock, true);
        self.policy = policy;
        result
    }

    #[expect(clippy::result_large_err)] // boxed by its only caller
    fn write(
        &mut self,
        records: &[Record],
        clock: Clock,
        renews_anchor: bool,
    ) -> Result<(), redb::Error> {
        let has_records = !records.is_empty();
        let renews_anchor =
            renews_anchor || self.anchor.is_outdated(self.timeline, clock, has_records);
        self.check_due = clock.now + CHECK_INTERVAL;
        if !has_records && !renews_anchor && self.unsynced_since.is_none() {
            return Ok(()); // the clock was looked at
        }
        let mut transaction = self.database.begin_write()?;
        let since = *self.unsynced_since.get_or_insert(clock.now);
        let may_wait = match self.policy {
            SyncPolicy::Interval(interval) => clock.now < since + interval,
            SyncPolicy::Always | SyncPolicy::Never => false,
        };
        if may_wait || Defect::CommitUnsynced.is_planted() {
            transaction.set_durability(redb::Durability::None);
        }
        let mut tables = Tables::open(&transaction, &mut self.summary)?;
        tables.apply(records, self.timeline)?;
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
        Ok(())
    }

    /// Reads a value of one of the tables (`clients`, `deliveries`, `messages`, `retained`, `subscriptions`) and
    /// writes it again: what a tool does that checks a store, value by value.
    ///
    /// # Errors
    /// If it is damaged, or there is no such table.
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
            _ => return Err(StoreError::Damaged("a table that does not exist")),
        })
    }

    /// Everything that is stored.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged.
    pub fn load(&self, clock: Clock) -> Result<Saved, StoreError> {
        let transaction = self.database.begin_read().map_err(access)?;
        let times = Times {
            timeline: self.timeline,
            now: clock.now,
        };
        loading::load(&transaction, times)
    }
}

/// A file that is written and not waited for.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.0.read(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self, _eventual: bool) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// The file, which nobody else may read if it is new: messages and wills are in it.
fn private_file(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn access(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Access(Box::new(error.into()))
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(path, _) => write!(f, "cannot open the store {}", path.display()),
            Self::Damaged(what) => write!(f, "the store is damaged or not this broker's: {what}"),
            Self::Access(_) => f.write_str("cannot use the store"),
            Self::NoRoom => f.write_str("there was no room in the store for too long"),
            Self::Gone => f.write_str("the store is not usable any more: see the message above"),
            Self::TooSlow => f.write_str("the disk of the store has not answered in time"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(_, error) | Self::Access(error) => Some(error),
            Self::Damaged(_) | Self::NoRoom | Self::Gone | Self::TooSlow => None,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
