//! [`ReadModeration`] delays reads while the server sends many small pieces, as network cards delay interrupts.
//!
//! A server that writes each message of QoS 0 with a call of its own is about as fast as a client that reads each with a
//! call of its own. Both then spend most of their time in the operating system. If the client waits for a moment, one
//! read returns many messages. Packets that expect an answer are not delayed: the moderation starts only if the client
//! has written nothing for a while, as with messages of QoS 0.

use std::time::{Duration, Instant};

/// Time for which a read is delayed. The operating system may add about the same time.
pub(super) const DELAY: Duration = Duration::from_micros(50);

/// Number of quick small reads in succession after which reads are delayed. At most one message in so many is delayed
/// in vain, when the server stops sending.
const QUICK_READS: u32 = 32;

/// Maximum time between two quick reads.
const QUICK: Duration = Duration::from_micros(50);

/// Number of bytes from which a read is not small. The cost of the call does not matter then.
const LARGE: usize = 16 * 1024;

/// Number of bytes from which a delayed read is no longer delayed: the server is faster than this client.
const FLOOD: usize = 48 * 1024;

/// Number of bytes that a delayed read must return. If it returns less, the server sends too slowly for a delay.
const WORTHWHILE: usize = 1024;

/// The last reads from the server.
#[derive(Debug, Default)]
pub(super) struct ReadModeration {
    last_read: Option<Instant>,
    quick_reads: u32,
    /// Total number of bytes that the client had written at the last read.
    written: u64,
}

impl ReadModeration {
    /// Records that a read has returned `count` bytes. `written` is the total number of bytes that the client has
    /// written.
    pub(super) fn handle_read(&mut self, now: Instant, count: usize, written: u64) {
        let was_delayed = self.is_active();
        let last = self.last_read.replace(now);
        let is_quick = last.is_some_and(|last| now.saturating_duration_since(last) < QUICK);
        let continues = if was_delayed {
            (WORTHWHILE..FLOOD).contains(&count)
        } else {
            is_quick && count < LARGE
        };
        let has_written = std::mem::replace(&mut self.written, written) != written;
        self.quick_reads = if continues && !has_written {
            self.quick_reads.saturating_add(1)
        } else {
            0
        };
    }

    /// Returns `true` if the next read must be delayed by [`DELAY`].
    pub(super) fn is_active(&self) -> bool {
        self.quick_reads >= QUICK_READS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records reads with the same interval and size.
    fn read(moderation: &mut ReadModeration, start: Instant, micros: u64, count: usize) -> Instant {
        let mut now = start;
        for _ in 0..=QUICK_READS {
            now += Duration::from_micros(micros);
            moderation.handle_read(now, count, 0);
        }
        now
    }

    #[test]
    fn many_small_quick_reads_delay_the_next_one() {
        let mut moderation = ReadModeration::default();
        let now = read(&mut moderation, Instant::now(), 5, 100);
        assert!(moderation.is_active());
        // The delayed reads come later and return more, and the moderation continues.
        let now = read(&mut moderation, now, 120, 4000);
        assert!(moderation.is_active());
        moderation.handle_read(now + DELAY, 100, 0);
        assert!(!moderation.is_active(), "the server has become slow");
    }

    #[test]
    fn slow_or_large_reads_are_not_delayed() {
        for (micros, count) in [(100, 100), (5, LARGE)] {
            let mut moderation = ReadModeration::default();
            read(&mut moderation, Instant::now(), micros, count);
            assert!(!moderation.is_active());
        }
    }

    #[test]
    fn a_client_that_writes_does_not_delay_reads() {
        let mut moderation = ReadModeration::default();
        let start = Instant::now();
        let now = read(&mut moderation, start, 5, 100);
        moderation.handle_read(now + DELAY, 4000, 4);
        assert!(!moderation.is_active(), "an acknowledgement was written");
        for number in 0..200 {
            moderation.handle_read(now + DELAY, 100, 4 + number);
        }
        assert!(!moderation.is_active());
    }
}
