//! How programs end: every exit status with its meaning, and the one line that explains a failure.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use colored::Colorize;
use mqtt_client::session::PrintableLines;
use mqtt_codec::{Connack, ProtocolVersion, ReasonCode};

use crate::logger;

/// An exit status. Those of the mosquitto tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 0: all was done.
    Success,
    /// 1: wrong options, a file that cannot be read, or a server that cannot be reached.
    Failed,
    /// 2: the server broke the rules of the protocol.
    ProtocolError,
    /// 2: rbroker: the store is damaged, is none, or another broker has it.
    Store,
    /// 3: rbroker: wrong options or configuration.
    Configuration,
    /// 4: the server ended the connection with DISCONNECT.
    Disconnected,
    /// 13: rbroker: a file with passwords or rights cannot be opened.
    AccessFile,
    /// 7: the connection was lost.
    ConnectionLost,
    /// 19: the server did not answer a ping.
    KeepAlive,
    /// 27: `-W` is over.
    TimedOut,
    /// 128 and the number of a signal that ended it.
    Signal(u8),
    /// The server refused: the connection, every subscription, or a message. 1 to 5 is the return
    /// code of a CONNACK of 3.1 and 3.1.1, 128 and above a reason code.
    Refused(u8),
}

impl Status {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::ProtocolError | Self::Store => 2,
            Self::Configuration => 3,
            Self::Disconnected => 4,
            Self::ConnectionLost => 7,
            Self::AccessFile => 13,
            Self::KeepAlive => 19,
            Self::TimedOut => 27,
            Self::Signal(number) => 128u8.saturating_add(number),
            Self::Refused(code) => code,
        }
    }

    /// For a CONNACK that refuses.
    pub(crate) fn of_connack(connack: &Connack, version: ProtocolVersion) -> Self {
        Self::Refused(connack.code(version))
    }

    /// For a message or subscription that was refused.
    pub(crate) fn of_reason(reason_code: ReasonCode) -> Self {
        Self::Refused(reason_code.value())
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.code().into()
    }
}

/// Why a program could not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: Status,
    /// The failed operation and its object.
    pub error: anyhow::Error,
    /// File and line of the error, if it is not on the command line.
    place: Option<String>,
    /// Full sentences that help, for a line of their own.
    hint: Option<String>,
    /// Set if the command line is to blame.
    is_usage: bool,
    /// Whether `Error:` stands before it: not where mosquitto's tools have none.
    is_marked: bool,
    /// Whether `--quiet` keeps it from being told.
    quiet: bool,
}

impl Failure {
    /// Creates a failure that is printed.
    pub fn new(status: Status, error: impl Into<anyhow::Error>) -> Self {
        Self {
            status,
            error: error.into(),
            place: None,
            hint: None,
            is_usage: false,
            is_marked: true,
            quiet: false,
        }
    }

    /// One of those that mosquitto's tools tell without `Error:`.
    pub(crate) fn unmarked(status: Status, message: impl std::fmt::Display) -> Self {
        Self {
            is_marked: false,
            ..Self::new(status, anyhow::anyhow!("{message}"))
        }
    }

    /// Wrong options and the like, told even with `--quiet`, as the mosquitto tools do.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self {
            is_usage: true,
            ..Self::failed(message)
        }
    }

    /// Something else that is not there or does not work.
    pub fn failed(message: impl std::fmt::Display) -> Self {
        Self::new(Status::Failed, anyhow::anyhow!("{message}"))
    }

    /// Adds full sentences that help.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Adds the file and line of the error.
    pub(crate) fn at(self, place: impl Into<String>) -> Self {
        Self {
            place: Some(place.into()),
            ..self
        }
    }

    /// The same with another status.
    pub(crate) fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// The same, told only if it is not quiet.
    pub(crate) fn quiet_if(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    /// Prints the failure, one line and at most one more with a hint, and returns the status. `name` is the name that
    /// the program was called by.
    pub fn report(self, name: &str) -> ExitCode {
        if !self.quiet {
            let message = self.message();
            if self.is_marked {
                complain(&message);
            } else {
                logger::print_error(&format!("{}\n", PrintableLines(&message)));
            }
            if let Some(hint) = self.last_line(name) {
                logger::print_error(&format!("{hint}\n"));
            }
        }
        self.status.into()
    }

    /// Returns the error with its place, before the full stop if there is one.
    fn message(&self) -> String {
        let message = format!("{:#}", self.error);
        match (&self.place, message.strip_suffix('.')) {
            (None, _) => message,
            (Some(place), Some(sentence)) => format!("{sentence} ({place})."),
            (Some(place), None) => format!("{message} ({place})"),
        }
    }

    /// Returns the line below the error.
    fn last_line(&self, name: &str) -> Option<String> {
        let usage = self
            .is_usage
            .then(|| format!("Use '{name} --help' to see usage."));
        let parts = self.hint.iter().cloned().chain(usage);
        let line = parts.collect::<Vec<_>>().join(" ");
        (!line.is_empty()).then_some(line)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Status::Failed, error)
    }
}

/// Something that is worth knowing and no failure.
pub(crate) fn warn(message: &str) {
    say("Warning:", colored::Color::Yellow, message);
}

/// Prints that something has changed for the better, which is neither a warning nor an error.
pub(crate) fn note(message: &str) {
    logger::print_error(&format!("{}\n", PrintableLines(message)));
}

/// Prints a warning about a server or a file, which starts with a small letter. A client that reconnects finds the same
/// again, which is not printed twice in a row.
pub(crate) fn warn_once(line: &str) {
    static LAST: Mutex<String> = Mutex::new(String::new());
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if *last != line {
        line.clone_into(&mut last);
        let mut letters = line.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let line: String = first.into_iter().chain(letters).collect();
        warn(&format!("{line}."));
    }
}

/// Something that went wrong and does not end the program.
pub(crate) fn complain(message: &str) {
    say("Error:", colored::Color::Red, message);
}

/// A line on standard error, coloured on a terminal.
fn say(kind: &str, color: colored::Color, message: &str) {
    colored::control::set_override(is_colorful());
    let message = PrintableLines(message); // it may quote the peer or a file
    logger::print_error(&format!("{} {message}\n", kind.color(color).bold()));
}

/// Whether standard error takes colours: a terminal, if NO_COLOR does not forbid it.
pub(crate) fn is_colorful() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Returns a number with the noun for that many.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// An error of the system in its own words, without the number.
pub(crate) fn system_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
