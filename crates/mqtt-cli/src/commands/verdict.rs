//! The outcome of a run for scripts: the number of messages for each outcome, and the JSON object that `--report`
//! writes.
//!
//! rpub, rsub and rrr share this module. Their loops fill in a [`Verdict`] when they end, and `setup.rs` writes the
//! [`Report`]. The exit status and its class are in `exit_status.rs`.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use crate::commands::counts::{Received, Responses, Served};
use crate::exit_status::{Class, Status};
use crate::failure::Failure;
use crate::output::standard_streams::StandardOutput;
use crate::wording::{counted, system_text};

/// The `version` field of the report. A change that could break programs that read reports must increment this number.
const VERSION: u32 = 1;

/// Maximum number of entries in `failed_lines`. Without a limit, an input with millions of rejected lines would fill
/// the memory.
pub(super) const MAXIMUM_LINES: usize = 100;

/// The part of the report that only the loop of the program can fill in. The loop does so when it ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(super) server: Option<String>,
    pub(super) messages: Option<Messages>,
    /// The topic filters that were silent at the end, with `--expect`.
    pub(super) silent_filters: Option<Vec<String>>,
    /// Line numbers of the input, in ascending order and at most [`MAXIMUM_LINES`]. A line is listed if no message
    /// could be made from it, if its message was too large to be sent, or if the broker rejected or did not acknowledge
    /// the message.
    pub(super) failed_lines: Vec<u64>,
}

/// A verdict that two threads share: the loop of the program fills it in, and the thread of the deadline may report it.
pub(crate) type SharedVerdict = Arc<Mutex<Verdict>>;

/// The number of messages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Messages {
    Published(Published),
    Received(Received),
    Responses(Responses),
    Requests(Served),
}

impl Messages {
    /// Returns the line for a run of rsub or rrr in which messages, responses or answers are missing. rpub adds its own
    /// line.
    pub(super) fn summary(&self) -> Option<String> {
        match self {
            Self::Published(_) => None,
            Self::Received(received) => received.summary(),
            Self::Responses(responses) => responses.summary(),
            Self::Requests(served) => served.summary(),
        }
    }
}

/// The number of messages of a run of rpub, for each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) total: u64,
    /// Messages of QoS 1 and 2 that the broker has acknowledged.
    pub(super) acknowledged: u64,
    /// Messages of QoS 1 and 2 that were sent but not acknowledged. The broker may have received them.
    pub(super) unknown: u64,
    /// Messages that the broker rejected, or that are too large for it.
    pub(super) rejected: u64,
    /// Input lines from which no message could be made. They are not part of `total`.
    pub(super) invalid: u64,
    /// Messages that were never sent.
    pub(super) not_sent: u64,
    /// Messages of QoS 0, which the broker does not acknowledge.
    pub(super) sent: u64,
}

impl Published {
    /// Returns `true` if every message was sent and, with QoS 1 and 2, acknowledged.
    pub(super) fn is_complete(&self) -> bool {
        self.unknown + self.rejected + self.not_sent + self.invalid == 0
    }

    /// Returns `true` if the broker has acknowledged some messages and may not have received all others.
    pub(super) fn is_partial(&self) -> bool {
        self.acknowledged > 0 && !self.is_complete()
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            total,
            acknowledged,
            unknown,
            rejected,
            invalid,
            not_sent,
            sent,
        } = *self;
        if sent > 0 && acknowledged + unknown + rejected == 0 {
            write!(f, "{sent} of {} sent", counted(total, "message"))?;
        } else {
            let expected = counted(total - sent, "message");
            write!(
                f,
                "{acknowledged} of {expected} acknowledged, {unknown} unknown, {rejected} rejected"
            )?;
            if sent > 0 {
                write!(f, ", {sent} sent with QoS 0")?;
            }
        }
        if invalid > 0 {
            write!(f, ", {invalid} invalid")?;
        }
        if not_sent > 0 {
            write!(f, ", {not_sent} not sent")?;
        }
        Ok(())
    }
}

/// The report of `--report`.
#[derive(Debug)]
pub(super) struct Report {
    program: &'static str,
    started: Instant,
    verdict: SharedVerdict,
    destination: Destination,
    /// Set before the report is written. The main thread and the thread of the deadline may both call `write`, and only
    /// the first call must write.
    is_written: AtomicBool,
}

#[derive(Debug)]
enum Destination {
    StandardOutput,
    File(File),
}

impl Report {
    /// Creates the file of a report, or selects standard output for `-`. The program calls this before it connects, so
    /// that a wrong path is reported before any message is sent.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(super) fn create(
        program: &'static str,
        path: &Path,
        started: Instant,
        verdict: SharedVerdict,
    ) -> Result<Self, Failure> {
        let destination = if path == Path::new("-") {
            Destination::StandardOutput
        } else {
            let file = File::create(path).map_err(|error| {
                let (path, text) = (path.display(), system_text(&error));
                Failure::failed(format!(
                    "Cannot create the report '{path}': {text} (option --report)."
                ))
                .with_class(Class::CannotCreate)
            })?;
            Destination::File(file)
        };
        Ok(Self {
            program,
            started,
            verdict,
            destination,
            is_written: AtomicBool::new(false),
        })
    }

    /// Writes the report of a run, unless it was written before.
    ///
    /// # Errors
    /// If the report cannot be written.
    pub(super) fn write(&self, result: Result<Status, &Failure>) -> Result<(), Failure> {
        if self.is_written.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let line = format!("{}\n", self.object(result));
        let written = match &self.destination {
            Destination::StandardOutput => StandardOutput.write_all(line.as_bytes()),
            Destination::File(file) => (&*file).write_all(line.as_bytes()),
        };
        written.or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()), // a closed pipe is not an error for messages either
            _ => {
                let text = system_text(&error);
                Err(Failure::failed(format!("Cannot write the report: {text}."))
                    .with_class(Class::Output))
            }
        })
    }

    fn object(&self, result: Result<Status, &Failure>) -> Value {
        let verdict = self.verdict.lock();
        let verdict = verdict.unwrap_or_else(PoisonError::into_inner);
        let (class, status) = match result {
            Ok(status) => (status.class(), status.exit_code()),
            Err(failure) => (failure.class(), failure.exit_code()),
        };
        let failure = result.err();
        let reason = failure.and_then(Failure::reason);
        let messages = verdict.messages.map(|messages| match messages {
            Messages::Received(received) => received.json(),
            Messages::Responses(responses) => responses.json(),
            Messages::Requests(served) => served.json(),
            Messages::Published(published) => json!({
                "total": published.total,
                "acknowledged": published.acknowledged,
                "unknown": published.unknown,
                "rejected": published.rejected,
                "invalid": published.invalid,
                "not_sent": published.not_sent,
                "sent_with_qos_0": published.sent,
            }),
        });
        json!({
            "version": VERSION,
            "program": self.program,
            "class": class.name(),
            "exit_status": status,
            "error": failure.map(Failure::message),
            "reason_code": reason.map(|reason| reason.code),
            "reason_string": reason.and_then(|reason| reason.text.as_deref()),
            "server": verdict.server,
            "duration": (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            "messages": messages,
            "silent_filters": verdict.silent_filters,
            "failed_lines": verdict.failed_lines,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_has_the_counts_for_the_qos_of_the_messages() {
        let published = Published {
            total: 100,
            acknowledged: 97,
            unknown: 3,
            ..Published::default()
        };
        let line = "97 of 100 messages acknowledged, 3 unknown, 0 rejected";
        assert_eq!(published.to_string(), line);
        let published = Published {
            total: 4,
            sent: 3,
            not_sent: 1,
            ..Published::default()
        };
        assert_eq!(published.to_string(), "3 of 4 messages sent, 1 not sent");
        let published = Published {
            total: 3,
            sent: 2,
            rejected: 1,
            ..Published::default()
        };
        let line = "0 of 1 message acknowledged, 0 unknown, 1 rejected, 2 sent with QoS 0";
        assert_eq!(published.to_string(), line);
    }
}
