//! [`Measured`]: the file of a store. It counts the bytes that are in use, and leaves out the syncs if the sync policy
//! is `never`.

use crate::store::sync_policy::SyncPolicy;
use redb::StorageBackend;
use redb::backends::FileBackend;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A backend of redb that counts the bytes in use.
#[derive(Debug)]
pub(super) struct Measured<B> {
    backend: B,
    /// Set if the file is synced when redb requests it.
    is_synced: bool,
    size: Size,
}

/// The position after the last byte that was written. The file may be longer, because redb doubles its length when it
/// grows. The part that was never written takes no room on the disk. A clone shares the same number.
#[derive(Debug, Clone, Default)]
pub(super) struct Size(Arc<AtomicU64>);

impl Size {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B: StorageBackend> Measured<B> {
    pub(super) fn new(backend: B) -> io::Result<Self> {
        let length = backend.len()?;
        Ok(Self {
            backend,
            is_synced: true,
            size: Size(Arc::new(length.into())),
        })
    }

    pub(super) fn size(&self) -> Size {
        self.size.clone()
    }
}

impl Measured<FileBackend> {
    /// Opens a file, or creates it. The bytes that the file takes on the disk count as bytes in use.
    pub(super) fn open(path: &Path, policy: SyncPolicy) -> Result<Self, redb::DatabaseError> {
        let file = private_file(path)?;
        let on_disk = bytes_on_disk(&file)?;
        let mut measured = Self::new(FileBackend::new(file)?)?;
        measured.is_synced = policy != SyncPolicy::Never;
        measured.size.0.fetch_min(on_disk, Ordering::Relaxed);
        Ok(measured)
    }
}

impl<B: StorageBackend> StorageBackend for Measured<B> {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.backend.read(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len)?;
        // A longer file has no further bytes in use until they are written.
        self.size.0.fetch_min(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        // With `sync never`, the operating system decides when the file reaches the disk.
        if self.is_synced {
            self.backend.sync_data(eventual)
        } else {
            Ok(())
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)?;
        let end = offset + data.len() as u64;
        self.size.0.fetch_max(end, Ordering::Relaxed);
        Ok(())
    }
}

/// Opens or creates the file. A new file has mode 0600, because it has the messages and wills of all clients.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Returns the number of bytes that the file takes on the disk.
#[cfg(unix)]
fn bytes_on_disk(file: &File) -> io::Result<u64> {
    const BLOCK: u64 = 512; // the unit of `st_blocks`, whatever the block size of the file system is
    let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata()?);
    Ok(blocks.saturating_mul(BLOCK))
}

/// Returns the length of the file, because other systems do not report the bytes on the disk.
#[cfg(not(unix))]
fn bytes_on_disk(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}
