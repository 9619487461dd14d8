//! [`PasswordVerifier`]: verifies passwords in a separate thread, since a hash takes milliseconds and the loop must
//! serve other connections meanwhile.
//!
//! The thread gets one check at a time. The others wait in the broker (`auth/check_queue.rs` of the core), which
//! removes the checks of connections that close.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Waker;
use mqtt_broker_core::{ConnectionId, PasswordCheck};
use mqtt_codec::ReasonCode;
use mqtt_transport::{Worker, WorkerError};

use crate::auth::Passwords;

/// The time after which a wrong password is answered. This limits the guesses of one connection.
const DELAY: Duration = Duration::from_secs(1);

/// A password with the file that has its hash.
type Login = (ConnectionId, Arc<Passwords>, PasswordCheck);

/// The thread, and its results.
#[derive(Debug)]
pub(crate) struct PasswordVerifier {
    worker: Worker<Login, (ConnectionId, bool)>,
    /// Answers that are held back, in order of their time.
    delayed: VecDeque<(Instant, ConnectionId)>,
}

impl PasswordVerifier {
    /// Starts the thread, which ends with this. `waker` is woken for each result.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let worker = Worker::start("passwords", waker, |(id, passwords, check): Login| {
            (id, passwords.verify(&check.user_name, &check.password))
        })?;
        Ok(Self {
            worker,
            delayed: VecDeque::new(),
        })
    }

    /// Returns `true` while the thread has a check.
    pub(crate) fn is_busy(&self) -> bool {
        self.worker.is_busy()
    }

    /// Gives the thread its next check.
    ///
    /// # Errors
    /// If the thread is busy, or has ended.
    pub(crate) fn check(
        &mut self,
        id: ConnectionId,
        passwords: Arc<Passwords>,
        check: PasswordCheck,
    ) -> Result<(), ReasonCode> {
        self.worker
            .begin((id, passwords, check))
            .map_err(|error| match error {
                WorkerError::Busy => ReasonCode::ServerBusy,
                _ => ReasonCode::UnspecifiedError,
            })
    }

    /// Returns the next result that is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(ConnectionId, Result<(), ReasonCode>)> {
        match self.worker.poll() {
            Some(Ok((id, true))) => return Some((id, Ok(()))),
            Some(Ok((id, false))) => self.delayed.push_back((now + DELAY, id)),
            // If the thread has ended, the next check fails.
            Some(Err(_)) | None => {}
        }
        let (due, id) = *self.delayed.front()?;
        (due <= now).then(|| {
            self.delayed.pop_front();
            (id, Err(ReasonCode::NotAuthorized))
        })
    }

    /// Returns the time at which `poll` must be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.delayed.front().map(|(due, _)| *due)
    }
}
