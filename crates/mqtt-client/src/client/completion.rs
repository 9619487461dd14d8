//! [`Slot`] contains the result of a request. The thread of the client sets the result, and callers wait for it.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Instant;

use super::waiting::lock;
#[cfg(feature = "async")]
use super::wakers::Completed;
use super::wakers::Wakers;

/// Result of one request.
#[derive(Debug)]
pub(super) struct Slot<T> {
    result: OnceLock<T>,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            result: OnceLock::new(),
        })
    }

    /// Sets the result. [`Completions::notify`] then wakes the waiting callers. A second result is ignored.
    pub(super) fn complete(&self, result: T) {
        let _ = self.result.set(result);
    }

    /// Returns the result, or `None` while the request is in progress.
    pub(super) fn result(&self) -> Option<&T> {
        self.result.get()
    }
}

#[cfg(feature = "async")]
impl<T: std::fmt::Debug + Send + Sync> Completed for Slot<T> {
    fn is_complete(&self) -> bool {
        self.result.get().is_some()
    }
}

/// Wakes the callers that wait for results. All slots of a client share one instance, so that a slot is small.
#[derive(Debug, Default)]
pub(super) struct Completions {
    lock: Mutex<()>,
    changed: Condvar,
    /// Number of callers that wait.
    waiting: AtomicUsize,
    /// Futures that wait.
    pub(super) wakers: Wakers,
}

impl Completions {
    /// Waits until the slot has a result. Returns `None` at the deadline.
    pub(super) fn wait<'a, T>(&self, slot: &'a Slot<T>, deadline: Instant) -> Option<&'a T> {
        if let Some(result) = slot.result() {
            return Some(result);
        }
        let mut guard = lock(&self.lock);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // This fence and the one in `notify` ensure that this caller sees the result, or that `notify` sees this
        // caller.
        fence(Ordering::SeqCst);
        let result = loop {
            if let Some(result) = slot.result() {
                break Some(result);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            guard = match self.changed.wait_timeout(guard, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
        result
    }

    /// Wakes all waiting callers, because one of their slots may have a result.
    pub(super) fn notify(&self) {
        // Without a waiting caller, which is the usual case, `notify` takes no lock.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let _guard = lock(&self.lock);
            self.changed.notify_all();
        }
        self.wakers.wake();
    }
}
