//! [`Wakers`] contains the wakers of the futures that wait for a change, as a `Condvar` does for threads.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use super::waiting::lock;

/// Request whose result a future waits for.
pub(super) trait Completed: fmt::Debug + Send + Sync {
    fn is_complete(&self) -> bool;
}

/// Wakers of futures. A future that is dropped removes its waker, so there are never more wakers than futures.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    /// Number of entries, which the thread of the client reads without the lock.
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<u64, Entry>,
    last_key: u64,
}

#[derive(Debug)]
struct Entry {
    waker: Waker,
    /// The request that must be complete before the future is woken. Without it, every change wakes the future.
    request: Option<Arc<dyn Completed>>,
}

/// Key of a future's entry. `None` until the future has waited.
pub(super) type Key = Option<u64>;

impl Wakers {
    /// Adds the waker of a future. The future must check its condition afterwards: a change before this call does not
    /// wake it.
    pub(super) fn add(&self, key: &mut Key, waker: &Waker, request: Option<Arc<dyn Completed>>) {
        let mut state = lock(&self.state);
        let key = *key.get_or_insert_with(|| {
            state.last_key += 1;
            state.last_key
        });
        let waker = waker.clone();
        state.entries.insert(key, Entry { waker, request });
        self.waiting.store(state.entries.len(), Ordering::SeqCst);
        drop(state);
        // This fence and the one in `wake` ensure that the future sees the change, or that `wake` sees the future.
        fence(Ordering::SeqCst);
    }

    /// Removes the waker of a future that no longer waits.
    pub(super) fn remove(&self, key: Key) {
        if let Some(key) = key {
            let mut state = lock(&self.state);
            state.entries.remove(&key);
            self.waiting.store(state.entries.len(), Ordering::SeqCst);
        }
    }

    /// Wakes the futures after a change, except those whose request is not complete. If only one future were woken, it
    /// could be dropped before it is polled, and the change would wake no other.
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut woken = Vec::new();
        let mut state = lock(&self.state);
        state.entries.retain(|_, entry| {
            let waits = entry.request.as_ref().is_some_and(|one| !one.is_complete());
            if !waits {
                woken.push(entry.waker.clone());
            }
            waits
        });
        self.waiting.store(state.entries.len(), Ordering::SeqCst);
        // A waker may poll its future immediately, which would lock the state again.
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Waits until `check` returns a value. `check` runs after each change.
    pub(super) async fn wait_for<T>(
        &self,
        request: Option<Arc<dyn Completed>>,
        mut check: impl FnMut() -> Option<T>,
    ) -> T {
        let mut registration = Registration {
            wakers: self,
            key: None,
        };
        poll_fn(|context| {
            if let Some(value) = check() {
                return Poll::Ready(value);
            }
            self.add(&mut registration.key, context.waker(), request.clone());
            check().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Removes the waker of a future that is dropped.
struct Registration<'a> {
    wakers: &'a Wakers,
    key: Key,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.wakers.remove(self.key);
    }
}
