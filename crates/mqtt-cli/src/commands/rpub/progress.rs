//! How far long work is, for the person at a terminal: one line on standard error that changes.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use mqtt_codec::QoS;

use crate::flags::settings::message::Content;
use crate::output::logger;
use crate::wording::counted;

/// Work that is done before is not worth a line.
const FIRST: Duration = Duration::from_secs(1);

const INTERVAL: Duration = Duration::from_millis(250);

/// A payload of this size takes its time.
const LARGE: usize = 1024 * 1024;

/// The counts, and the line.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Messages given to the connection.
    pub(crate) published: u64,
    /// Messages of QoS 1 and 2 that the broker has acknowledged.
    pub(crate) acknowledged: u64,
    /// Messages that the broker has rejected, or would reject.
    pub(crate) rejected: u64,
    /// When the line is due; `None` if there is none.
    next: Option<Instant>,
    start: Instant,
    is_shown: Cell<bool>,
    /// Only messages of QoS 1 and 2 are acknowledged.
    qos: QoS,
}

impl Progress {
    /// Shown if it is wanted, if standard error is a terminal, and if the work may take long. Lines
    /// that are typed need no counting.
    pub(crate) fn new(wanted: bool, content: &Content, repeat: u64, qos: QoS) -> Self {
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

    /// When `show` wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Shows the line if it is due.
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
        if unwritten >= LARGE {
            line += &format!(", {} MiB to send", unwritten / LARGE);
        }
        self.is_shown.set(true);
        logger::print_error(&format!("\r\x1b[K{line}"));
    }

    /// Leaves the line as it is, and goes to the next one.
    pub(crate) fn finish(&self) {
        if self.is_shown.replace(false) {
            logger::print_error("\n");
        }
    }
}
