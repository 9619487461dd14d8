//! The reports to the program that supervises the broker, such as systemd. The event loop sends them itself, so that a
//! loop that hangs sends none, and the supervisor restarts the broker.

use std::time::{Duration, Instant};

/// A report to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// The server reads its configuration again. [`Report::Ready`] follows.
    Reloading,
    /// The server has read its configuration again, or has kept the old one because of an error.
    Ready,
    /// The event loop runs. This report is sent at a regular interval.
    Alive,
    /// The server ends its connections and writes its store.
    Stopping,
}

/// The function that sends reports, and the time of the next regular one.
#[derive(Default)]
pub(super) struct Supervision {
    send: Option<Box<dyn FnMut(Report)>>,
    /// The time between two reports of [`Report::Alive`]. `None` if the supervisor does not expect this report.
    interval: Option<Duration>,
    /// The time of the next [`Report::Alive`].
    due: Option<Instant>,
}

impl Supervision {
    /// Sets the function that sends reports, and the time between two reports of [`Report::Alive`].
    pub(super) fn report_to(
        &mut self,
        interval: Option<Duration>,
        send: impl FnMut(Report) + 'static,
    ) {
        self.send = Some(Box::new(send));
        self.interval = interval;
        self.due = interval.map(|_| Instant::now());
    }

    /// Sends a report, if there is a supervisor.
    pub(super) fn report(&mut self, report: Report) {
        if let Some(send) = &mut self.send {
            send(report);
        }
    }

    /// Sends [`Report::Alive`] if its time has come.
    pub(super) fn report_alive(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.report(Report::Alive);
            self.due = self.interval.map(|interval| now + interval);
        }
    }

    /// Returns the time at which `report_alive` must be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}
