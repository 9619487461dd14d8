//! The reports of the threads that wait for handlers, and the failures of runs.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use mio::Waker;

use super::process::Exit;

/// The report of a thread of a handler.
#[derive(Debug)]
pub(super) enum Report {
    /// The handler of the job with this number has ended, with its output.
    Exit(u64, Exit, Vec<u8>),
    /// The handler that stays and has this number has written a line.
    Line(u64, Vec<u8>),
    /// The handler that stays and has this number has ended.
    ResidentExit(u64, Exit),
}

/// Sends reports to the loop, and wakes it.
#[derive(Debug, Clone)]
pub(super) struct Reports {
    sender: SyncSender<Report>,
    waker: Arc<Waker>,
}

impl Reports {
    pub(super) fn new(sender: SyncSender<Report>, waker: Arc<Waker>) -> Self {
        Self { sender, waker }
    }

    /// Sends a report. Errors are ignored: the loop may have ended, and then nothing receives the report.
    pub(super) fn send(&self, report: Report) {
        let _ = self.sender.send(report);
        let _ = self.waker.wake();
    }
}

/// The failure of a run.
#[derive(Debug)]
pub(super) struct RunFailure {
    pub(super) reason: String,
    /// Set if a handler that stays has ended before its answer.
    pub(super) is_handler_lost: bool,
    /// Set if that handler has exited with 0.
    pub(super) is_regular_exit: bool,
}

impl RunFailure {
    /// Creates a failure that counts for `--retries`.
    pub(super) fn counted(reason: String) -> Self {
        Self {
            reason,
            is_handler_lost: false,
            is_regular_exit: false,
        }
    }

    /// Returns `true` if the run counts for `--retries`. A handler that stays is started again as often as needed,
    /// because rsub must not end with it. With a topic for dead letters the run counts nevertheless, so that a message
    /// that always ends its handler does not hold the others for ever.
    pub(super) fn is_counted(&self, has_dead_letter: bool) -> bool {
        !self.is_handler_lost || has_dead_letter && !self.is_regular_exit
    }
}
