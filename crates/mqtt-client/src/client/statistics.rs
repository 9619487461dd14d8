//! [`Statistics`] are the counters of a client.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a client since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Messages of QoS 1 and 2 that the server has acknowledged, and messages of QoS 0 that were sent.
    pub delivered: u64,
    /// Messages of QoS 0 that were accepted and not sent, because the connection was lost.
    pub lost: u64,
    /// Messages that the server has rejected, or that could not be sent to the server.
    pub failed: u64,
    /// Received messages that were discarded. Either the queue was full and the application had no
    /// [`Messages`](crate::Messages) to read it, or the client was about to end.
    pub discarded: u64,
    /// Messages of QoS 1 and 2 that the server has not acknowledged completely.
    pub unfinished: u64,
}

/// Counters of [`Client::statistics`](crate::Client::statistics).
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) delivered: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) discarded: AtomicU64,
    pub(super) unfinished: AtomicU64,
}

impl Counters {
    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            delivered: self.delivered.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            discarded: self.discarded.load(Ordering::Relaxed),
            unfinished: self.unfinished.load(Ordering::Relaxed),
        }
    }
}
