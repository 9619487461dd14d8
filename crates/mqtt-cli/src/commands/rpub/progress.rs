//! Shows the progress of long work to a person at a terminal: one line on standard error that is overwritten. Counts of
//! messages are here, too, because the line and the final report use them.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use mqtt_codec::QoS;

use crate::flags::settings::message::Content;
use crate::output::logger;
use crate::wording::counted;

/// The time before the line appears. Shorter work shows no progress.
const FIRST: Duration = Duration::from_secs(1);

/// The time between two updates of the line.
const INTERVAL: Duration = Duration::from_millis(250);

/// The minimum size of a single payload for which progress is shown.
const LARGE: usize = 1024 * 1024;

/// The counts of messages, and the line that shows them.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Messages given to the connection.
    pub(crate) published: u64,
    /// The part of `published` that has QoS 0. The broker does not acknowledge these messages.
    pub(crate) without_acknowledgement: u64,
    /// Messages of QoS 1 and 2 that the broker has acknowledged.
    pub(crate) acknowledged: u64,
    /// Messages that the broker has rejected, or that rpub did not send because they are too large for the broker.
    pub(crate) rejected: u64,
    /// The time of the next update; `None` if no line is shown.
    next: Option<Instant>,
    start: Instant,
    is_shown: Cell<bool>,
    /// The QoS of all messages. The broker does not acknowledge messages of QoS 0, so the line then has no number of
    /// acknowledgements.
    qos: QoS,
}

impl Progress {
    /// Creates the counts. The line is shown if `wanted` is `true`, standard error is a terminal, and the work may take
    /// long. A person who types the lines of `-l` needs no progress.
    pub(crate) fn new(wanted: bool, content: &Content, repeat: u64, qos: QoS) -> Self {
        // Short work gets no line, because a line that appears for a moment would flicker.
        let is_long = match content {
            Content::Payload(payload) => repeat > 1 || payload.len() >= LARGE,
            Content::Lines(_) => !std::io::stdin().is_terminal(),
        };
        let start = Instant::now();
        let shown = wanted && is_long && std::io::stderr().is_terminal();
        Self {
            published: 0,
            without_acknowledgement: 0,
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

    /// Updates the line if the time of the next update has come.
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
        // A large payload counts as published before its bytes are sent, so the line also shows the bytes that wait.
        if unwritten >= LARGE {
            line += &format!(", {} MiB to send", unwritten / LARGE);
        }
        self.is_shown.set(true);
        // `\r` moves to the start of the row, and `ESC [ K` clears the row.
        logger::print_error(&format!("\r\x1b[K{line}"));
    }

    /// Ends the line, so that the next text does not overwrite it.
    pub(crate) fn finish(&self) {
        if self.is_shown.replace(false) {
            logger::print_error("\n");
        }
    }
}
