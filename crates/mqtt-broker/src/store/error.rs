//! [`StoreError`]: the reasons why a store cannot be used, with the texts that the program prints.

use mqtt_transport::reason;
use std::path::PathBuf;
use std::{fmt, io};

/// The reason why a store cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened, is not a store, or is locked by another broker.
    Open(PathBuf, Box<redb::Error>),
    /// The content is not what this broker writes.
    Corrupt(&'static str),
    /// The file cannot be read or written. The mutations of the failed commit are not durable.
    Access(Box<redb::Error>),
    /// The thread that uses the store has ended.
    Gone,
    /// The disk has not answered in time.
    TooSlow,
}

impl StoreError {
    /// Returns `true` if the cause is the content or the lock of the file: it is corrupt, is not a store, or is locked
    /// by another broker. The program then exits with another status than for an error of the disk.
    pub fn is_about_the_file(&self) -> bool {
        match self {
            Self::Corrupt(_) => true,
            // redb reports a file that is not a database as an I/O error with invalid data.
            Self::Open(_, error) => !matches!(**error, redb::Error::Io(ref io)
                if io.kind() != io::ErrorKind::InvalidData),
            Self::Access(_) | Self::Gone | Self::TooSlow => false,
        }
    }

    /// Returns `true` if another broker has locked the file.
    pub fn is_in_use(&self) -> bool {
        match self {
            Self::Open(_, error) => matches!(**error, redb::Error::DatabaseAlreadyOpen),
            _ => false,
        }
    }

    /// Returns `true` if the disk is full. The content of the store is still valid then, and the file can be opened
    /// again.
    pub fn is_disk_full(&self) -> bool {
        // A disk quota and a limit of the file size have the same effect as a full disk.
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let (Self::Open(_, error) | Self::Access(error)) = self else {
            return false; // the other errors do not come from the disk
        };
        matches!(**error, redb::Error::Io(ref io)
            if matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}

/// Returns the error for a failed read or write.
pub(super) fn access(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Access(Box::new(error.into()))
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(path, error) => {
                write!(f, "cannot open the store '{}': ", path.display())?;
                match &**error {
                    redb::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                        let folder = path.parent().unwrap_or(path).display();
                        write!(f, "the folder '{folder}' does not exist")
                    }
                    error => Words(error).fmt(f),
                }
            }
            Self::Corrupt(what) => {
                write!(
                    f,
                    "the store is corrupt or is not an rbroker store ({what})"
                )
            }
            Self::Access(error) => write!(f, "cannot use the store: {}", Words(error)),
            Self::Gone => f.write_str("the store failed before (see the earlier error)"),
            Self::TooSlow => f.write_str("the disk of the store did not answer in time"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The text for an error of the database.
struct Words<'a>(&'a redb::Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                f.write_str("it is corrupt or is not an rbroker store")
            }
            redb::Error::Io(error) => f.write_str(&reason(error)),
            redb::Error::DatabaseAlreadyOpen => f.write_str("another broker has locked it"),
            redb::Error::UpgradeRequired(_) => f.write_str(
                "another version of rbroker wrote it, in a format that this version cannot read",
            ),
            redb::Error::Corrupted(what) => write!(f, "it is corrupt ({what})"),
            error => write!(f, "it cannot be used ({error})"),
        }
    }
}
