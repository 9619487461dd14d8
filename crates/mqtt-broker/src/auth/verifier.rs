//! [`PasswordVerifier`]: the thread that checks passwords. A password hash is slow by design, and the loop must serve
//! other connections meanwhile.
//!
//! The thread gets one check at a time. The other checks wait in the core (`auth/check_queue.rs` there). The core
//! chooses the next check round robin by peer address, and removes the checks of connections that close.

use crate::auth::password_file::Passwords;
use mio::Waker;
use mqtt_broker_core::{ConnectionId, PasswordCheck};
use mqtt_codec::ReasonCode;
use mqtt_transport::{Worker, WorkerError};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The delay before a wrong password is answered. It limits how many passwords a client can try in a second.
const DELAY: Duration = Duration::from_secs(1);

/// A password to check, with the password file that has its hash.
type Login = (ConnectionId, Arc<Passwords>, PasswordCheck);

/// The thread that checks passwords, and its delayed results.
#[derive(Debug)]
pub(crate) struct PasswordVerifier {
    worker: Worker<Login, (ConnectionId, bool)>,
    /// The connections with a wrong password, each with the time of its answer, in the order of these times.
    delayed: VecDeque<(Instant, ConnectionId)>,
}

impl PasswordVerifier {
    /// Starts the thread, which ends when the `PasswordVerifier` is dropped. The thread wakes `waker` for each result.
    ///
    /// # Errors
    /// Returns an error if the system cannot start a thread.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let worker = Worker::start("passwords", waker, |(id, passwords, check): Login| {
            (id, passwords.verify(&check.user_name, &check.password))
        })?;
        Ok(Self {
            worker,
            delayed: VecDeque::new(),
        })
    }

    /// Returns `true` while the thread checks a password.
    pub(crate) fn is_busy(&self) -> bool {
        self.worker.is_busy()
    }

    /// Passes the next password to the thread.
    ///
    /// # Errors
    /// Returns the reason code with which CONNECT must be rejected, if the thread is busy or has ended.
    pub(crate) fn check(
        &mut self,
        id: ConnectionId,
        passwords: Arc<Passwords>,
        check: PasswordCheck,
    ) -> Result<(), ReasonCode> {
        self.worker
            .begin((id, passwords, check))
            .map_err(|error| match error {
                // The caller checks `is_busy` first, so this is only a safeguard.
                WorkerError::Busy => ReasonCode::ServerBusy,
                _ => ReasonCode::UnspecifiedError,
            })
    }

    /// Returns the next result that is due: a right password immediately, and a wrong one after the delay.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(ConnectionId, Result<(), ReasonCode>)> {
        match self.worker.poll() {
            Some(Ok((id, true))) => return Some((id, Ok(()))),
            // All delays are equal, so the list stays in the order of its times.
            Some(Ok((id, false))) => self.delayed.push_back((now + DELAY, id)),
            // If the thread has ended, `check` returns an error for the next password.
            Some(Err(_)) | None => {}
        }
        let (due, id) = *self.delayed.front()?;
        (due <= now).then(|| {
            self.delayed.pop_front();
            (id, Err(ReasonCode::NotAuthorized))
        })
    }

    /// Returns the time at which `poll` must be called for a delayed result.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.delayed.front().map(|(due, _)| *due)
    }
}
