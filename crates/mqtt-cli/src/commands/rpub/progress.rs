//! The progress of long work for a person at a terminal: one line on standard error that changes.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use mqtt_codec::QoS;

use crate::flags::settings::message::Content;
use crate::output::logger;
use crate::wording::counted;

/// The time before the line appears. Shorter work is not worth one.
const FIRST: Duration = Duration::from_secs(1);

/// The time between two states of the line.
const INTERVAL: Duration = Duration::from_millis(250);

/// The size from which on a single payload takes long enough for a line.
const LARGE: usize = 1024 * 1024;

/// The counts of messages, and the line that shows them.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Messages given to the connection.
    pub(crate) published: u64,
    /// Messages of QoS 1 and 2 that the broker has acknowledged.
    pub(crate) acknowledged: u64,
    /// Messages that the broker has rejected, or would reject.
    pub(crate) rejected: u64,
    /// The time at which the line changes next; `None` if no line is shown.
    next: Option<Instant>,
    start: Instant,
    is_shown: Cell<bool>,
    /// The QoS of all messages. Those of QoS 0 are not acknowledged, so the line does not count acknowledgements then.
    qos: QoS,
}

impl Progress {
    /// Creates the counts. The line is shown if it is wanted, standard error is a terminal, and the work may take long. A
    /// person who types the lines sees the progress without it.
    pub(crate) fn new(wanted: bool, content: &Content, repeat: u64, qos: QoS) -> Self {
        // A short line that appears and disappears would only flicker.
        let is_long = match content {
            Content::Payload(payload) => repeat > 1 || payload.len() >= LARGE,
            Content::Lines => !std::io::stdin().is_terminal(),
        };
        let start = Instant::now();
        let shown = wanted && is_long && std::io::stderr().is_terminal();
        Self {
            published: 0,
            acknowledged: 0,
            rejected: 0,
            next: shown.then(|| start + FIRST),
            start,
            is_shown: Cell::new(false),
            qos,
        }
    }

    /// Returns the time at which `show` must be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Updates the line if its time has come.
    pub(crate) fn show(&mut self, now: Instant, unwritten: usize) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + INTERVAL);
        let seconds = (now - self.start).as_secs_f64();
        let rate = self.published as f64 / seconds;
        let mut line = format!("{}, {rate:.0}/s", counted(self.published, "message"));
        if self.qos > QoS::AtMostOnce {
            line += &format!(", {} acknowledged", self.acknowledged);
        }
        // A single large payload counts as published before it is sent, so its bytes are the progress.
        if unwritten >= LARGE {
            line += &format!(", {} MiB to send", unwritten / LARGE);
        }
        self.is_shown.set(true);
        // Back to the start of the row, and clears it.
        logger::print_error(&format!("\r\x1b[K{line}"));
    }

    /// Ends the line, so that the next text does not overwrite it.
    pub(crate) fn finish(&self) {
        if self.is_shown.replace(false) {
            logger::print_error("\n");
        }
    }
}
