//! [`ReadBuffer`] stores received bytes until they are decoded.

use std::cell::Cell;
use std::io;

use crate::stream::{ReadStatus, Stream};

/// Maximum number of bytes of one read after a read has filled the smaller buffer.
const READ_SIZE: usize = 64 * 1024;

/// Number of bytes of the first reads. A client that publishes one message receives only a few bytes, and a larger
/// buffer would waste memory.
const FIRST_SIZE: usize = 4096;

/// Buffer between a stream and a decoder. The decoder consumes whole packets, and the rest stays in the buffer.
///
/// The buffer grows with the bytes that arrive, and never to a length that a peer announces. A decoder that rejects
/// large packets at their header therefore limits the buffer.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    /// Memory of the buffer. The unread bytes are those from `start` to `end`.
    bytes: Vec<u8>,
    /// Start of the unread bytes. A `Cell`, because a decoded packet still borrows the bytes when the start moves past
    /// it.
    start: Cell<usize>,
    end: usize,
    /// Set when a read has filled the buffer. The peer then sends much, and larger reads need fewer calls.
    was_filled: bool,
}

impl ReadBuffer {
    /// Reads once from `stream` and appends the bytes.
    ///
    /// # Errors
    /// Returns the errors of [`Stream::read`].
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

    /// Removes the first `count` unread bytes. A later call of `fill` reuses their memory.
    pub fn consume(&self, count: usize) {
        self.start.set((self.start.get() + count).min(self.end));
    }

    /// Returns `true` if there are no unread bytes.
    pub fn is_empty(&self) -> bool {
        self.start.get() >= self.end
    }

    /// Returns `true` if the buffer has allocated memory. A new buffer has not.
    pub fn is_allocated(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Removes all bytes, and frees the memory of a large packet.
    pub fn clear(&mut self) {
        self.start.set(0);
        self.end = 0;
        if self.bytes.len() > READ_SIZE {
            self.bytes = Vec::new();
        }
    }

    /// Makes room for the next read at the end of the buffer.
    fn make_room(&mut self) {
        // In most calls all packets have been consumed, and the next read starts at the front without a copy.
        if self.is_empty() {
            self.clear();
        }
        let start = self.start.get();
        let wanted = if self.was_filled {
            READ_SIZE
        } else {
            FIRST_SIZE
        };
        // Bytes are moved only if too little room is left at the end. Moving the rest of a packet after each read would
        // copy a large packet many times.
        if start > 0 && self.bytes.len() - self.end < wanted / 2 {
            self.bytes.copy_within(start..self.end, 0);
            self.end -= start;
            self.start.set(0);
        }
        if self.bytes.len() - self.end < wanted / 2 || self.bytes.len() < wanted {
            // Doubling keeps the total number of copied bytes proportional to the size of the packet.
            let size = (2 * self.end).max(wanted);
            self.bytes.resize(size, 0);
        }
    }
}
