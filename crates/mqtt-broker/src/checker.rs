//! Checks passwords in a thread of its own: a hash takes milliseconds, and the loop has others to serve.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;
use mqtt_codec::ReasonCode;

use crate::{ConnectionId, PasswordCheck};

/// So many passwords may wait; more are refused, as the server is busy.
const MAXIMUM_WAITING: usize = 256;

/// How long a wrong password waits for its answer: who guesses has to be patient.
const DELAY: Duration = Duration::from_secs(1);

/// The thread, and what comes back from it.
#[derive(Debug)]
pub(crate) struct Checker {
    checks: SyncSender<(ConnectionId, PasswordCheck)>,
    results: Receiver<(ConnectionId, bool)>,
    /// Answers that are held back, in order of their time.
    delayed: VecDeque<(Instant, ConnectionId)>,
}

impl Checker {
    /// Starts the thread, which ends with this. `waker` is woken for each result.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let (checks, to_check) = sync_channel::<(ConnectionId, PasswordCheck)>(MAXIMUM_WAITING);
        let (to_tell, results) = sync_channel(MAXIMUM_WAITING);
        thread::Builder::new()
            .name("passwords".into())
            .spawn(move || {
                for (id, check) in to_check {
                    if to_tell.send((id, check.run())).is_err() {
                        return;
                    }
                    let _ = waker.wake(); // a loop that is gone needs no waking
                }
            })?;
        Ok(Self {
            checks,
            results,
            delayed: VecDeque::new(),
        })
    }

    /// Takes a password to be checked.
    ///
    /// # Errors
    /// If too many wait already.
    pub(crate) fn check(&self, id: ConnectionId, check: PasswordCheck) -> Result<(), ReasonCode> {
        self.checks
            .try_send((id, check))
            .map_err(|error| match error {
                TrySendError::Full(_) => ReasonCode::ServerBusy,
                TrySendError::Disconnected(_) => ReasonCode::UnspecifiedError,
            })
    }

    /// The next answer that is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(ConnectionId, Result<(), ReasonCode>)> {
        while let Ok((id, is_right)) = self.results.try_recv() {
            if is_right {
                return Some((id, Ok(())));
            }
            self.delayed.push_back((now + DELAY, id));
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
