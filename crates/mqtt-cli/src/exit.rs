//! How programs end: every exit status with its meaning, and the one line that explains a failure.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use colored::Colorize;
use mqtt_codec::{Connack, ProtocolVersion, ReasonCode};

/// An exit status. Those of the mosquitto tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 0: all was done.
    Success,
    /// 1: wrong options, a file that cannot be read, or a server that cannot be reached.
    Failed,
    /// 2: the server broke the rules of the protocol.
    ProtocolError,
    /// 3: rbroker: wrong options or configuration.
    Configuration,
    /// 4: the server ended the connection with DISCONNECT.
    Disconnected,
    /// 7: the connection was lost.
    ConnectionLost,
    /// 19: the server did not answer a ping.
    KeepAlive,
    /// 27: `-W` is over.
    TimedOut,
    /// 255: interrupted before there was a connection.
    Interrupted,
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
            Self::ProtocolError => 2,
            Self::Configuration => 3,
            Self::Disconnected => 4,
            Self::ConnectionLost => 7,
            Self::KeepAlive => 19,
            Self::TimedOut => 27,
            Self::Interrupted => 255,
            Self::Refused(code) => code,
        }
    }

    /// For a CONNACK that refuses.
    pub(crate) fn of_connack(connack: &Connack, version: ProtocolVersion) -> Self {
        Self::Refused(match version {
            ProtocolVersion::V5_0 => connack.reason_code.value(),
            _ => connack.reason_code.connect_return_code().unwrap_or(3),
        })
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
    /// What failed, on what.
    pub error: anyhow::Error,
    /// Whether `--quiet` keeps it from being told.
    pub quiet: bool,
}

impl Failure {
    /// One that is told.
    pub fn new(status: Status, error: impl Into<anyhow::Error>) -> Self {
        Self {
            status,
            error: error.into(),
            quiet: false,
        }
    }

    /// Wrong options and the like: told even with `--quiet`, as mosquitto's.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(Status::Failed, anyhow::anyhow!("{message}"))
    }

    /// The same, told only if it is not quiet.
    pub(crate) fn quiet_if(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    /// Tells it, and gives the status.
    pub fn report(self) -> ExitCode {
        if !self.quiet {
            say("Error:", colored::Color::Red, &format!("{:#}", self.error));
        }
        self.status.into()
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

/// A line on standard error, coloured on a terminal if NO_COLOR does not forbid it.
fn say(kind: &str, color: colored::Color, message: &str) {
    colored::control::set_override(is_colorful());
    // Nobody hears it: the exit status still says what happened.
    let _ = writeln!(std::io::stderr(), "{} {message}", kind.color(color).bold());
}

fn is_colorful() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// An error of the system in its own words, without the number.
pub(crate) fn system_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
