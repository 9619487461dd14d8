//! [`Shared`] is the state that callers and the thread of a client share.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use super::completion::Completions;
use super::error::ConnectError;
use super::event_queue::EventQueue;
use super::failures::Failures;
use super::handover::Handover;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::waiting::lock;
use super::wakers::Wakers;

/// The driver of a client, as its owners see it.
pub(super) trait Drive: fmt::Debug + Send {
    /// Runs one turn, which may wait until `deadline`. `closing` is the deadline for the end of the client
    /// ([`Outbox::closing`]); only a turn with it sends DISCONNECT. Returns an error if the client has ended;
    /// [`Self::end`] must follow.
    fn turn(&mut self, deadline: Option<Instant>, closing: Option<Instant>) -> Result<(), Ending>;

    /// Returns `true` if the driver takes further messages from the callers' queue.
    fn takes_publications(&self) -> bool;

    /// Completes all messages and requests, and wakes all callers.
    fn end(&mut self, ending: Ending);
}

/// Passes the driver between the thread of a client and its readers.
pub(super) type DriverHandover = Handover<Box<dyn Drive>>;

/// State that callers and the thread of a client share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) events: EventQueue,
    pub(super) completions: Completions,
    pub(super) failures: Failures,
    pub(super) handover: Arc<DriverHandover>,
    status: Mutex<Status>,
    status_changed: Condvar,
    pub(super) status_wakers: Wakers,
}

/// State of the client for which callers wait.
#[derive(Debug, Default)]
struct Status {
    /// Set when the server has accepted the first connection.
    was_reached: bool,
    last_error: Option<ConnectError>,
    ending: Option<Ending>,
}

/// Result of a client that has ended.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) reason: ConnectError,
    /// Number of messages that the server has not acknowledged.
    pub(super) unfinished: usize,
}

impl Shared {
    pub(super) fn new(outbox: Outbox, inbox: Inbox, handover: Arc<DriverHandover>) -> Self {
        Self {
            outbox,
            inbox,
            events: EventQueue::default(),
            completions: Completions::default(),
            failures: Failures::default(),
            handover,
            status: Mutex::default(),
            status_changed: Condvar::new(),
            status_wakers: Wakers::default(),
        }
    }

    /// Records that the server has accepted the first connection, and wakes the callers that wait for it.
    pub(super) fn set_reached(&self) {
        lock(&self.status).was_reached = true;
        self.status_changed.notify_all();
        self.status_wakers.wake();
    }

    pub(super) fn set_last_error(&self, error: &ConnectError) {
        lock(&self.status).last_error = Some(error.clone());
    }

    /// Makes the driver idle, so that a reader can borrow it. Requests of callers recall it to the thread.
    pub(super) fn release(&self, driver: Box<dyn Drive>) {
        let takes_publications = driver.takes_publications();
        let has_work = || self.outbox.begin_idle(takes_publications);
        self.handover.release(driver, has_work);
    }

    /// Records that the client has ended, and wakes all callers.
    pub(super) fn set_ended(&self, ending: Ending) {
        // The reason is stored before any caller is woken: a reader that finds the end of the inbox requests the
        // reason.
        lock(&self.status).ending.get_or_insert(ending);
        self.handover.end();
        self.inbox.end();
        self.events.end();
        self.completions.notify();
        self.status_changed.notify_all();
        self.status_wakers.wake();
    }

    pub(super) fn has_ended(&self) -> bool {
        lock(&self.status).ending.is_some()
    }

    pub(super) fn end_reason(&self) -> ConnectError {
        let status = lock(&self.status);
        let ending = status.ending.as_ref();
        ending.map_or(ConnectError::Closed, |ending| ending.reason.clone())
    }

    /// Returns the result of the first connection, or `None` while the client is still connecting.
    #[cfg(feature = "async")]
    pub(super) fn reached(&self) -> Option<Result<(), ConnectError>> {
        let status = lock(&self.status);
        match &status.ending {
            _ if status.was_reached => Some(Ok(())),
            Some(ending) => Some(Err(ending.reason.clone())),
            None => None,
        }
    }

    #[cfg(feature = "async")]
    pub(super) fn ending(&self) -> Option<Ending> {
        lock(&self.status).ending.clone()
    }

    /// Waits until the server has accepted the first connection. Returns the last error at the deadline.
    pub(super) fn wait_until_reached(&self, deadline: Instant) -> Result<(), ConnectError> {
        let status = self.wait(deadline, |status| {
            status.was_reached || status.ending.is_some()
        });
        match &status.ending {
            _ if status.was_reached => Ok(()),
            Some(ending) => Err(ending.reason.clone()),
            None => Err(status.last_error.clone().unwrap_or(ConnectError::Closed)),
        }
    }

    pub(super) fn wait_until_ended(&self, deadline: Instant) -> Option<Ending> {
        let status = self.wait(deadline, |status| status.ending.is_some());
        status.ending.clone()
    }

    fn wait(&self, deadline: Instant, is_done: impl Fn(&Status) -> bool) -> MutexGuard<'_, Status> {
        let left = deadline.saturating_duration_since(Instant::now());
        let status = lock(&self.status);
        let result = self
            .status_changed
            .wait_timeout_while(status, left, |status| !is_done(status));
        match result {
            Ok((status, _)) => status,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}
