//! [`ReadModeration`] delays reads while the server sends many small pieces, as network cards delay interrupts.
//!
//! A server that writes each message of QoS 0 with a call of its own is about as fast as a client that reads each with a
//! call of its own. Both then spend most of their time in the operating system. If the client waits for a moment, one
//! read returns many messages. An exchange of packets is delayed at most once: reads are delayed only while the client
//! writes nothing, as with messages of QoS 0.
//!
//! After a delayed read the next one follows without a delay. Without TCP_NODELAY, which mosquitto does not set by
//! default, the server's system sends the messages of the delay only after this end has acknowledged the first of them,
//! so the delayed read returns few bytes and the next one the rest.

use std::time::{Duration, Instant};

/// Time for which a read is delayed. Linux adds about the same time, systems with coarse timers up to a millisecond.
pub(super) const DELAY: Duration = Duration::from_micros(50);

/// Number of quick small reads in succession after which reads are delayed. When the server stops sending, one delayed
/// read has gained nothing.
const QUICK_READS: u32 = 32;

/// Maximum time between two quick reads.
const QUICK: Duration = Duration::from_micros(50);

/// Maximum time between two delayed reads. After a longer time the server sends too slowly for a delay.
const SLOW: Duration = Duration::from_millis(2);

/// Number of bytes from which a read is not small. The messages then cost more than the call.
const LARGE: usize = 16 * 1024;

/// Number of bytes of a delayed read and the next one from which reads are no longer delayed: the server is faster than
/// this client.
const FLOOD: usize = 48 * 1024;

/// Number of bytes that a delayed read and the next one must return. If they return less, the server sends too slowly for
/// a delay.
const WORTHWHILE: usize = 1024;

/// Counts the quick small reads from the server.
#[derive(Debug, Default)]
pub(super) struct ReadModeration {
    last_read: Option<Instant>,
    quick_reads: u32,
    /// Number of bytes of the delayed read, until the next one.
    delayed: Option<usize>,
    /// Total number of bytes that the client had written at the last read.
    written: u64,
}

impl ReadModeration {
    /// Records that a read has returned `count` bytes. `written` is the total number of bytes that the client has
    /// written.
    pub(super) fn handle_read(&mut self, now: Instant, count: usize, written: u64) {
        let last = self.last_read.replace(now);
        let elapsed = last.map_or(SLOW, |last| now.saturating_duration_since(last));
        let was_delayed = self.is_active(written);
        let has_written = std::mem::replace(&mut self.written, written) != written;
        let continues = match self.delayed.take() {
            _ if was_delayed => {
                self.delayed = Some(count);
                elapsed < SLOW
            }
            Some(delayed) => (WORTHWHILE..FLOOD).contains(&(delayed + count)) && !has_written,
            None => elapsed < QUICK && count < LARGE && !has_written,
        };
        self.quick_reads = if continues {
            self.quick_reads.saturating_add(1)
        } else {
            0
        };
    }

    /// Returns `true` if the next read must be delayed by [`DELAY`]. `written` is the total number of bytes that the
    /// client has written: after a write the server may send an answer, which must not be delayed.
    pub(super) fn is_active(&self, written: u64) -> bool {
        self.quick_reads >= QUICK_READS && self.delayed.is_none() && self.written == written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the state after reads of this interval and size, and the time of the last one.
    fn after_reads(micros: u64, count: usize) -> (ReadModeration, Instant) {
        let mut moderation = ReadModeration::default();
        let mut now = Instant::now();
        for _ in 0..=QUICK_READS {
            now += Duration::from_micros(micros);
            moderation.handle_read(now, count, 0);
        }
        (moderation, now)
    }

    #[test]
    fn many_small_quick_reads_delay_the_next_one() {
        let (mut moderation, mut now) = after_reads(5, 100);
        for _ in 0..100 {
            assert!(moderation.is_active(0));
            now += 2 * DELAY;
            moderation.handle_read(now, 100, 0);
            // The rest of the messages follows after the acknowledgement.
            assert!(!moderation.is_active(0));
            moderation.handle_read(now, LARGE, 0);
        }
    }

    #[test]
    fn delayed_reads_end_when_the_server_becomes_slower_or_faster() {
        for (wait, count) in [(DELAY, 100), (SLOW, 4000), (DELAY, FLOOD)] {
            let (mut moderation, now) = after_reads(5, 100);
            moderation.handle_read(now + wait, 100, 0);
            moderation.handle_read(now + wait + DELAY, count, 0);
            assert!(!moderation.is_active(0), "{wait:?}, {count} bytes");
        }
    }

    #[test]
    fn slow_or_large_reads_are_not_delayed() {
        for (micros, count) in [(100, 100), (5, LARGE)] {
            let (moderation, _) = after_reads(micros, count);
            assert!(!moderation.is_active(0));
        }
    }

    #[test]
    fn a_client_that_writes_does_not_delay_reads() {
        let (mut moderation, mut now) = after_reads(5, 100);
        assert!(!moderation.is_active(4), "the server may answer");
        for written in 1..200 {
            now += Duration::from_micros(5);
            moderation.handle_read(now, 100, written);
            assert!(!moderation.is_active(written));
        }
    }
}
