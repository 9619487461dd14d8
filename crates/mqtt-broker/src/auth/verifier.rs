//! Checks passwords in a thread of its own: a hash takes milliseconds, and the loop has others to serve.
//!
//! The thread gets one check at a time. The others wait in the broker (`auth/check_queue.rs` of the core), where those of connections
//! that close are taken out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use mio::Waker;
use mqtt_broker_core::{ConnectionId, PasswordCheck};
use mqtt_codec::ReasonCode;

use crate::auth::Passwords;

/// How long a wrong password waits for its answer: who guesses has to be patient.
const DELAY: Duration = Duration::from_secs(1);

/// A password with the file that has its hash.
type Login = (ConnectionId, Arc<Passwords>, PasswordCheck);

/// The thread, and what comes back from it.
#[derive(Debug)]
pub(crate) struct PasswordVerifier {
    checks: SyncSender<Login>,
    results: Receiver<(ConnectionId, bool)>,
    /// Set while the thread has a check.
    is_busy: bool,
    /// Answers that are held back, in order of their time.
    delayed: VecDeque<(Instant, ConnectionId)>,
}

impl PasswordVerifier {
    /// Starts the thread, which ends with this. `waker` is woken for each result.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let (checks, to_check) = sync_channel::<Login>(1);
        let (to_tell, results) = sync_channel(1);
        thread::Builder::new()
            .name("passwords".into())
            .spawn(move || {
                for (id, passwords, check) in to_check {
                    let is_right = passwords.verify(&check.user_name, &check.password);
                    if to_tell.send((id, is_right)).is_err() {
                        return;
                    }
                    let _ = waker.wake(); // a loop that is gone needs no waking
                }
            })?;
        Ok(Self {
            checks,
            results,
            is_busy: false,
            delayed: VecDeque::new(),
        })
    }

    /// Returns `true` while the thread has a check.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Gives the thread its next check.
    ///
    /// # Errors
    /// If the thread is busy, or is gone.
    pub(crate) fn check(
        &mut self,
        id: ConnectionId,
        passwords: Arc<Passwords>,
        check: PasswordCheck,
    ) -> Result<(), ReasonCode> {
        self.checks
            .try_send((id, passwords, check))
            .map_err(|error| match error {
                TrySendError::Full(_) => ReasonCode::ServerBusy,
                TrySendError::Disconnected(_) => ReasonCode::UnspecifiedError,
            })?;
        self.is_busy = true;
        Ok(())
    }

    /// The next answer that is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(ConnectionId, Result<(), ReasonCode>)> {
        match self.results.try_recv() {
            Ok((id, is_right)) => {
                self.is_busy = false;
                if is_right {
                    return Some((id, Ok(())));
                }
                self.delayed.push_back((now + DELAY, id));
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.is_busy = false, // so that the next check fails
        }
        let (due, id) = *self.delayed.front()?;
        (due <= now).then(|| {
            self.delayed.pop_front();
            (id, Err(ReasonCode::NotAuthorized))
        })
    }

    /// When `poll` wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.delayed.front().map(|(due, _)| *due)
    }
}
