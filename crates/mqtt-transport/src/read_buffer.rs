//! Bytes that were read and not decoded yet.

use std::cell::Cell;
use std::io;

use crate::stream::{ReadStatus, Stream};

/// The number of bytes that one call reads at most once a peer has filled a smaller buffer.
const READ_SIZE: usize = 64 * 1024;

/// The number of bytes that the first calls read. A client that publishes one message receives only a few bytes, so more
/// memory would be wasted.
const FIRST_SIZE: usize = 4096;

/// A buffer between a stream and a decoder, which takes whole packets and leaves the rest.
///
/// The buffer grows with the bytes that arrive, never with a length that a peer announces. A decoder that rejects large
/// packets at their header keeps the buffer small.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: Vec<u8>,
    /// The start of the unread bytes. A `Cell`, because a packet that was taken still borrows the bytes when the start
    /// moves past it.
    start: Cell<usize>,
    end: usize,
    /// Set once a read has filled the buffer: the peer sends much, so larger reads pay off.
    was_filled: bool,
}

impl ReadBuffer {
    /// Reads once from `stream` and appends the bytes.
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

    /// Removes the first `count` unread bytes.
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

    fn make_room(&mut self) {
        // Usually all packets were taken, and the next read starts at the front without any copy.
        if self.is_empty() {
            self.clear();
        }
        let start = self.start.get();
        let wanted = if self.was_filled {
            READ_SIZE
        } else {
            FIRST_SIZE
        };
        // Bytes are moved only when too little room is left behind them: moving the rest of a packet after each read
        // would copy a large packet many times.
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
