//! Why a store cannot be used.

use std::path::PathBuf;
use std::{fmt, io};

/// Why a store cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened, is no store, or another broker has it.
    Open(PathBuf, Box<redb::Error>),
    /// The content is not what this broker writes.
    Damaged(&'static str),
    /// The file cannot be read or written. Records that were to be written are not durable.
    Access(Box<redb::Error>),
    /// The thread that uses it has ended.
    Gone,
    /// The disk has not answered in time.
    TooSlow,
}

impl StoreError {
    /// Returns `true` if the cause is the file: corrupt, not a store, or locked by another broker.
    pub fn is_about_the_file(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Open(_, error) => !matches!(**error, redb::Error::Io(ref io)
                if io.kind() != io::ErrorKind::InvalidData),
            Self::Access(_) | Self::Gone | Self::TooSlow => false,
        }
    }

    /// Returns `true` if the disk is full: the content of the store stays valid, and it can be opened again.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let (Self::Open(_, error) | Self::Access(error)) = self else {
            return false;
        };
        matches!(**error, redb::Error::Io(ref io)
            if matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}

pub(super) fn access(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Access(Box::new(error.into()))
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(path, _) => write!(f, "cannot open the store {}", path.display()),
            Self::Damaged(what) => write!(f, "the store is damaged or not this broker's: {what}"),
            Self::Access(_) => f.write_str("cannot use the store"),
            Self::Gone => f.write_str("the store is not usable any more: see the message above"),
            Self::TooSlow => f.write_str("the disk of the store has not answered in time"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(_, error) | Self::Access(error) => Some(error),
            Self::Damaged(_) | Self::Gone | Self::TooSlow => None,
        }
    }
}
