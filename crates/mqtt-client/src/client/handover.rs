//! [`Handover`] passes the driver from the thread of the client to a reader and back.
//!
//! The thread runs the driver. While messages arrive quickly, each of them would wake two threads: the thread of the
//! client, which reads the message, and then the reader that waits for it. A reader that waits again and again
//! therefore borrows the driver and runs its turns itself. The reader releases the driver with each batch of messages.
//! If the reader does not borrow it again within [`GRACE`], the thread takes it back, so that the connection never
//! depends on the application.
//!
//! ```text
//!  thread ── release ──> idle ── borrow ──> reader
//!     ^                   │ ^                 │
//!     └── after GRACE ────┘ └──── release ────┘
//!         or recall
//! ```

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::waiting::lock;

/// Time for which the driver may be idle. Bytes from and to the server, acknowledgements of the application, and messages
/// that wait for room in flight, are late by at most about twice this time.
pub(super) const GRACE: Duration = Duration::from_millis(2);

/// Place in which the driver is between two owners. `D` is the driver; tests use another type.
pub(super) struct Handover<D> {
    state: Mutex<State<D>>,
    changed: Condvar,
    /// Number of readers that wait for the driver. The thread reads it after each turn, without the lock.
    requests: AtomicUsize,
}

struct State<D> {
    /// The driver while it is idle.
    driver: Option<D>,
    /// Number of times that a reader has borrowed the driver.
    loans: u64,
    /// Set when the thread must take back the idle driver immediately.
    is_recalled: bool,
    /// Set while the thread waits without a deadline, because a reader runs the driver.
    thread_sleeps: bool,
    has_ended: bool,
}

impl<D> Handover<D> {
    pub(super) fn new() -> Self {
        let state = State {
            driver: None,
            loans: 0,
            is_recalled: false,
            thread_sleeps: false,
            has_ended: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            requests: AtomicUsize::new(0),
        }
    }

    /// Makes the driver idle. `has_work` returns `true` if there is work for which the thread must take it back
    /// immediately. Work that is added later has the same effect, because its caller calls [`Self::recall`].
    pub(super) fn release(&self, driver: D, has_work: impl FnOnce() -> bool) {
        // An earlier recall was for work that this owner has done.
        lock(&self.state).is_recalled = false;
        let has_work = has_work();
        let mut state = lock(&self.state);
        state.driver = Some(driver);
        state.is_recalled |= has_work;
        // A thread that waits with a deadline does not have to be woken, since its deadline limits the idle time.
        let sleeps = std::mem::take(&mut state.thread_sleeps);
        let wakes = sleeps || state.is_recalled || self.is_requested();
        drop(state);
        if wakes {
            self.changed.notify_all();
        }
    }

    /// Takes the idle driver for a reader. Returns `None` if the driver is not idle.
    pub(super) fn borrow(&self) -> Option<D> {
        lock(&self.state).lend()
    }

    /// Requests the driver from the thread, which `wake` wakes. Waits for it until `deadline`, but for at most [`GRACE`].
    pub(super) fn request(&self, wake: impl FnOnce(), deadline: Option<Instant>) -> Option<D> {
        let end = Instant::now() + GRACE;
        let end = deadline.map_or(end, |deadline| deadline.min(end));
        self.requests.fetch_add(1, Ordering::SeqCst);
        // `wake` would recall a driver that is already idle.
        let idle = self.borrow();
        if idle.is_some() {
            self.requests.fetch_sub(1, Ordering::SeqCst);
            return idle;
        }
        wake();
        let driver = self.wait_for_release(end);
        self.requests.fetch_sub(1, Ordering::SeqCst);
        driver
    }

    fn wait_for_release(&self, end: Instant) -> Option<D> {
        let mut state = lock(&self.state);
        loop {
            let driver = state.lend();
            let left = end.saturating_duration_since(Instant::now());
            if driver.is_some() || left.is_zero() || state.has_ended {
                return driver;
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Returns `true` if a reader waits for the driver.
    pub(super) fn is_requested(&self) -> bool {
        self.requests.load(Ordering::SeqCst) > 0
    }

    /// Makes the thread take back the driver immediately if it is idle or about to become idle. Returns `false` if the
    /// driver is not idle, so that its owner may wait for the server and must be woken.
    pub(super) fn recall(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_recalled = true;
        let is_idle = state.driver.is_some();
        drop(state);
        if is_idle {
            self.changed.notify_all();
        }
        is_idle
    }

    /// Waits, in the thread of the client, until the driver was idle for [`GRACE`] or is recalled. Returns `None` if
    /// the client has ended.
    pub(super) fn wait_for_return(&self) -> Option<D> {
        let mut state = lock(&self.state);
        loop {
            if state.has_ended {
                return None;
            }
            if state.is_recalled && state.driver.is_some() {
                return state.driver.take();
            }
            let loans = state.loans;
            let was_idle = state.driver.is_some();
            let timed_out;
            (state, timed_out) = match self.changed.wait_timeout(state, GRACE) {
                Ok((state, result)) => (state, result.timed_out()),
                Err(poisoned) => (poisoned.into_inner().0, false),
            };
            match state.driver {
                _ if !timed_out || state.loans != loans => {}
                Some(_) if was_idle => return state.driver.take(),
                Some(_) => {}
                // The reader waits for the server. It wakes this thread when it releases the driver.
                None => state = self.sleep(state),
            }
        }
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State<D>>) -> MutexGuard<'a, State<D>> {
        state.thread_sleeps = true;
        while state.thread_sleeps && !state.has_ended {
            state = match self.changed.wait(state) {
                Ok(state) => state,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
        state
    }

    /// Records that the client has ended, and wakes the thread.
    pub(super) fn end(&self) {
        lock(&self.state).has_ended = true;
        self.changed.notify_all();
    }
}

impl<D> State<D> {
    fn lend(&mut self) -> Option<D> {
        let driver = self.driver.take()?;
        self.loans += 1;
        Some(driver)
    }
}

/// Formats nothing of the driver, whose options contain the password.
impl<D> fmt::Debug for Handover<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Handover").finish_non_exhaustive()
    }
}
