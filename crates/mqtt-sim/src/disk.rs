//! A simulated disk for the store. A write is readable immediately, and durable only after a sync. If the process is
//! killed, all writes survive. If the power is lost, any part of the writes since the last sync survives, and a write
//! may be torn: only its first sectors survive.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use redb::StorageBackend;

/// The number of bytes that a drive writes atomically.
const SECTOR: usize = 512;

/// A disk. Clones share its content, so that the content survives the store that wrote it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    /// The content that a reader sees.
    bytes: Vec<u8>,
    /// The content that survives a loss of power.
    synced: Vec<u8>,
    /// The writes since the last sync, in order.
    pending: Vec<Write>,
    /// The number of operations that still succeed before all operations fail. `None` means that the disk works.
    fails_after: Option<u32>,
}

#[derive(Debug)]
enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl SimDisk {
    /// Makes all operations fail after `count` more have succeeded.
    pub(crate) fn fail_after(&self, count: u32) {
        self.state().fails_after = Some(count);
    }

    /// Cancels a planned failure, and returns it, so that `set_failure` can plan it again.
    pub(crate) fn postpone_failure(&self) -> Option<u32> {
        self.state().fails_after.take()
    }

    /// Plans a failure after this number of operations. `None` plans no failure.
    pub(crate) fn set_failure(&self, after: Option<u32>) {
        self.state().fails_after = after;
    }

    /// Makes the disk work again.
    pub(crate) fn mend(&self) {
        self.state().fails_after = None;
    }

    /// Handles the death of the process: the operating system completes all writes.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        state.synced = state.bytes.clone();
        state.pending.clear();
        state.fails_after = None;
    }

    /// Handles a loss of power: a random part of the writes since the last sync survives.
    pub(crate) fn lose_power(&self, rng: &mut Rng) {
        let mut state = self.state();
        // A drive may reorder writes between two syncs. So any subset of them may survive, not only the first ones.
        let mut bytes = std::mem::take(&mut state.synced);
        for write in std::mem::take(&mut state.pending) {
            match write {
                _ if rng.bool() => {} // this write is lost
                Write::Bytes(at, mut piece) => {
                    // A torn write: only its first sectors are on the disk.
                    if rng.u8(0..4) == 0 {
                        let sectors = rng.usize(0..=piece.len() / SECTOR);
                        piece.truncate(sectors * SECTOR);
                    }
                    put(&mut bytes, at, &piece);
                }
                Write::Length(length) => bytes.resize(length, 0),
            }
        }
        // The file keeps its length, even if a write at its end is lost: the file system may have stored the length
        // earlier.
        let length = state.bytes.len().max(bytes.len());
        bytes.resize(length, 0);
        state.synced = bytes.clone();
        state.bytes = bytes;
        state.fails_after = None;
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.0.lock().expect("nobody panics while it is locked")
    }

    /// Returns the state of the disk, or an error if the planned failure is due. Counts the operation.
    fn operate(&self) -> io::Result<MutexGuard<'_, DiskState>> {
        let mut state = self.state();
        match &mut state.fails_after {
            Some(0) => Err(io::Error::other("the disk has failed")),
            Some(left) => {
                *left -= 1;
                Ok(state)
            }
            None => Ok(state),
        }
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.operate()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let state = self.operate()?;
        let start = offset as usize;
        let bytes = state.bytes.get(start..start + length);
        bytes
            .map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.operate()?;
        state.bytes.resize(length as usize, 0);
        state.pending.push(Write::Length(length as usize));
        Ok(())
    }

    fn sync_data(&self, _eventual: bool) -> io::Result<()> {
        let mut state = self.operate()?;
        for write in std::mem::take(&mut state.pending) {
            match write {
                Write::Bytes(at, piece) => put(&mut state.synced, at, &piece),
                Write::Length(length) => state.synced.resize(length, 0),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.operate()?;
        put(&mut state.bytes, offset as usize, data);
        state
            .pending
            .push(Write::Bytes(offset as usize, data.to_vec()));
        Ok(())
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if bytes.len() < at + piece.len() {
        bytes.resize(at + piece.len(), 0);
    }
    bytes[at..at + piece.len()].copy_from_slice(piece);
}
