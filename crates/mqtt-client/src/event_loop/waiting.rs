//! The wait of a turn, and the pause in which the loop reads nothing.

use std::time::{Duration, Instant};

use super::{EventLoop, Intake, MAXIMUM_UNWRITTEN, moderation};
use crate::dialer::Dialer;
use crate::error::ClientError;

impl EventLoop {
    /// Pauses the client, because the program cannot accept messages. The loop reads no bytes and does not reconnect,
    /// so turns pass no events. The loop still writes and sends PINGREQ.
    pub fn pause(&mut self) {
        self.intake = Intake::Paused;
    }

    /// Ends a pause.
    pub fn resume(&mut self) {
        if self.is_paused() {
            self.intake = Intake::Resumed;
        }
    }

    /// Returns `true` while the client is paused.
    pub fn is_paused(&self) -> bool {
        self.intake == Intake::Paused
    }

    /// Waits for a waker, a source or `deadline`, and does nothing else. The wait must be short, because PINGREQ and
    /// the deadlines of the client wait too.
    pub fn wait_only(&mut self, deadline: Instant) {
        // The next turn reports an error of the operating system.
        let _ = self.poll_for(Some(deadline.saturating_duration_since(Instant::now())));
    }

    /// Waits until the first event or deadline.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        if self.is_paused() {
            let first = [deadline, self.core.poll_timeout()].into_iter().flatten();
            let wait = |first: Instant| first.saturating_duration_since(Instant::now());
            return self.poll_for(first.min().map(wait));
        }
        let is_up = matches!(self.stream.dialer, Dialer::Connected(_));
        let may_wait =
            deadline.is_none_or(|deadline| Instant::now() + moderation::DELAY < deadline);
        let is_delayed = self.moderation.is_active(self.stream.written());
        if is_up && !self.stopped && is_delayed && may_wait {
            // No event should end this wait: the bytes that arrive during it are read together.
            std::thread::sleep(moderation::DELAY);
        }
        // Packets in the buffer and bytes in the socket raise no further event, so the turn must not wait for one.
        let busy = is_up && (self.stopped || self.stream.is_readable() && self.may_read());
        if busy {
            return self.poll_for(Some(Duration::ZERO));
        }
        // Readiness is edge-triggered. A pause may have consumed the events of a new stream or of a look-up, so one
        // turn runs without waiting.
        if self.intake == Intake::Resumed {
            self.intake = Intake::Running;
            return self.poll_for(Some(Duration::ZERO));
        }
        let own = self.stream.dialer.poll_timeout();
        let first = [deadline, own, self.core.poll_timeout()]
            .into_iter()
            .flatten()
            .min();
        self.poll_for(first.map(|first| first.saturating_duration_since(Instant::now())))
    }

    fn poll_for(&mut self, timeout: Option<Duration>) -> Result<(), ClientError> {
        self.poller.wait(&mut self.stream, timeout)
    }

    /// Returns `true` if the loop may read from the server now.
    pub(super) fn may_read(&self) -> bool {
        // After a failed write the output cannot shrink, and unread bytes may give the reason of the failure.
        self.stream.is_unwritable() || self.unwritten() < MAXIMUM_UNWRITTEN
    }
}
