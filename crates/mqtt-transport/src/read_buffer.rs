//! What was read and not understood yet.

use std::cell::Cell;
use std::io;

use crate::stream::{ReadStatus, Stream};

/// How much is read at a time, in bytes, where much comes.
const READ_SIZE: usize = 64 * 1024;

/// How much is read at first: who sends one message gets a few bytes back.
const FIRST_SIZE: usize = 4096;

/// A buffer between a stream and its reader, who takes whole packets and leaves the rest.
///
/// It grows with what arrives, never with what a peer announces: a reader that refuses large
/// packets at their first bytes keeps it small.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: Vec<u8>,
    /// Moves on while a reader still looks at what it took.
    start: Cell<usize>,
    end: usize,
    /// Whether as much came as there was room for.
    was_filled: bool,
}

impl ReadBuffer {
    /// Reads once from `stream` behind what is there.
    ///
    /// # Errors
    /// Those of [`Stream::read`].
    pub fn fill(&mut self, stream: &mut Stream) -> io::Result<ReadStatus> {
        self.make_room();
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        let size = room.len();
        let (count, status) = stream.read(room)?;
        self.end += count;
        self.was_filled |= count == size;
        Ok(status)
    }

    /// Returns the unread bytes.
    pub fn unread(&self) -> &[u8] {
        self.bytes
            .get(self.start.get()..self.end)
            .unwrap_or_default()
    }

    /// The first `count` bytes are taken.
    pub fn consume(&self, count: usize) {
        self.start.set((self.start.get() + count).min(self.end));
    }

    /// Returns `true` if there are no unread bytes.
    pub fn is_empty(&self) -> bool {
        self.start.get() >= self.end
    }

    /// Returns `true` if the buffer has memory; a new one has none.
    pub fn is_allocated(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Throws away what is there, and the memory that a large packet needed.
    pub fn clear(&mut self) {
        self.start.set(0);
        self.end = 0;
        if self.bytes.len() > READ_SIZE {
            self.bytes = Vec::new();
        }
    }

    fn make_room(&mut self) {
        if self.is_empty() {
            self.clear();
        }
        let start = self.start.get();
        let wanted = match self.was_filled {
            true => READ_SIZE,
            false => FIRST_SIZE,
        };
        if start > 0 && self.bytes.len() - self.end < wanted / 2 {
            self.bytes.copy_within(start..self.end, 0);
            self.end -= start;
            self.start.set(0);
        }
        if self.bytes.len() - self.end < wanted / 2 || self.bytes.len() < wanted {
            // Doubling keeps the cost of a large packet in proportion to its size.
            let size = (2 * self.end).max(wanted);
            self.bytes.resize(size, 0);
        }
    }
}
