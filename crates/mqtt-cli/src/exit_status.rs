//! The exit statuses of the programs, with their meanings. The numbers are those of the mosquitto tools, because
//! scripts may check them. `--help-all` of each program lists the statuses that the program uses.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use mqtt_codec::{Connack, ProtocolVersion, ReasonCode};

/// The exit status of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 0: the program did what it was asked to.
    Success,
    /// 1: a wrong option, a file that cannot be read, or a broker that cannot be reached.
    Failed,
    /// 2: the broker violated the protocol.
    ProtocolError,
    /// 2: rbroker: the store is corrupt, is not an rbroker store, or is locked by another broker.
    Store,
    /// 3: rbroker: wrong options or configuration.
    Configuration,
    /// 4: the broker closed the connection with DISCONNECT.
    Disconnected,
    /// 13: rbroker: a password file or an ACL file cannot be opened.
    AccessFile,
    /// 7: the connection was lost.
    ConnectionLost,
    /// 19: the broker did not answer a ping.
    KeepAlive,
    /// 27: the timeout of `-W` has passed.
    TimedOut,
    /// 40: no message has come for the time of `--expect`.
    Silent,
    /// 1: the retained messages differ from the backup of `--diff`.
    Different,
    /// 128 plus the number of the signal that ended the program.
    Signal(u8),
    /// The broker rejected the connection, every subscription, or a message. Values of 1 to 5 are return codes of
    /// CONNACK in MQTT 3.1 and 3.1.1; values from 128 are reason codes.
    Refused(u8),
}

impl Status {
    /// Returns the number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed | Self::Different => 1,
            // As in mosquitto, the same number has one meaning for the clients and another one for the broker.
            Self::ProtocolError | Self::Store => 2,
            Self::Configuration => 3,
            Self::Disconnected => 4,
            Self::ConnectionLost => 7,
            Self::AccessFile => 13,
            Self::KeepAlive => 19,
            Self::TimedOut => 27,
            Self::Silent => 40, // free: the mosquitto tools use numbers up to 31, sysexits.h from 64 on
            // Shells report the death by a signal as 128 plus the number of the signal.
            Self::Signal(number) => 128u8.saturating_add(number),
            Self::Refused(code) => code,
        }
    }

    /// Returns the status for a CONNACK that rejects the connection.
    pub(crate) fn of_connack(connack: &Connack, version: ProtocolVersion) -> Self {
        Self::Refused(connack.code(version))
    }

    /// Returns the status for a message or subscription that the broker rejected.
    pub(crate) fn of_reason(reason_code: ReasonCode) -> Self {
        Self::Refused(reason_code.value())
    }
}

impl Status {
    /// Returns the class of the status. A [`Failure`](crate::failure::Failure) may have a more specific class.
    pub(crate) fn class(self) -> Class {
        match self {
            Self::Success => Class::Success,
            Self::Failed | Self::Store | Self::AccessFile => Class::System,
            Self::ProtocolError => Class::Protocol,
            Self::Configuration => Class::Configuration,
            Self::Disconnected | Self::ConnectionLost | Self::KeepAlive => Class::Unavailable,
            Self::TimedOut => Class::Temporary,
            Self::Silent => Class::Silence,
            Self::Different => Class::Different,
            Self::Signal(_) => Class::Interrupted,
            Self::Refused(_) => Class::Refused,
        }
    }

    /// Returns the exit status of the process, as a number of the mosquitto tools or of sysexits.h. `--exit-status`
    /// selects which.
    pub(crate) fn exit_code(self) -> u8 {
        self.code_of(self.class())
    }

    /// Returns the exit status for a class that is more specific than that of the status. The class only matters with
    /// `--exit-status sysexits`.
    pub(crate) fn code_of(self, class: Class) -> u8 {
        if is_plugin() {
            return class.plugin_status();
        }
        match class.sysexits() {
            Some(number) if USES_SYSEXITS.load(Ordering::Relaxed) => number,
            // 1 means a difference, as the status of diff(1) does.
            _ if self.code() == 1 && self != Self::Different && IS_DIFF.load(Ordering::Relaxed) => {
                2
            }
            _ => self.code(),
        }
    }
}

/// The reason why a program ended, for scripts. `--report` prints the class by name. With `--exit-status sysexits` the
/// class also determines the exit status, which distinguishes more failures than the statuses of the mosquitto tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Success,
    /// A wrong command line.
    Usage,
    /// Input that contradicts the options.
    Data,
    /// A file or standard input that cannot be read.
    NoInput,
    /// A host name without an address.
    HostNotFound,
    /// A broker that cannot be reached or that ended the connection.
    Unavailable,
    /// A failure of the operating system.
    System,
    /// A file that cannot be created.
    CannotCreate,
    /// Standard output or a file that cannot be written.
    Output,
    /// A deadline that has passed, or a run that delivered only some messages. Another attempt may succeed.
    Temporary,
    /// A violation of MQTT, TLS or WebSocket by the broker.
    Protocol,
    /// A rejection of the client, its subscriptions or its messages by the broker.
    Refused,
    /// An error in an options file or in a file for TLS.
    Configuration,
    /// A topic filter without a message for the time of `--expect`.
    Silence,
    /// A message that took longer than `--warn-after`.
    Late,
    /// Retained messages that differ from the backup of `--diff`.
    Different,
    /// A signal.
    Interrupted,
}

impl Class {
    /// Returns the name of the class in a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Usage => "usage",
            Self::Data => "data",
            Self::NoInput => "no-input",
            Self::HostNotFound => "host-not-found",
            Self::Unavailable => "unavailable",
            Self::System => "system",
            Self::CannotCreate => "cannot-create",
            Self::Output => "output",
            Self::Temporary => "temporary",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Configuration => "configuration",
            Self::Silence => "silence",
            Self::Late => "late",
            Self::Different => "different",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns the exit status by the Monitoring Plugins Development Guidelines. By these guidelines, a plugin that
    /// could not make its check reports UNKNOWN. A broker that cannot be reached, or that rejects the client, is
    /// CRITICAL.
    fn plugin_status(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Late | Self::Different => 1,
            Self::Silence
            | Self::HostNotFound
            | Self::Unavailable
            | Self::Temporary
            | Self::Protocol
            | Self::Refused => 2,
            Self::Usage
            | Self::Data
            | Self::NoInput
            | Self::System
            | Self::CannotCreate
            | Self::Output
            | Self::Configuration
            | Self::Interrupted => 3,
        }
    }

    /// Returns the name of the exit status by the same guidelines.
    pub(crate) fn plugin_word(self) -> &'static str {
        match self.plugin_status() {
            0 => "OK",
            1 => "WARNING",
            2 => "CRITICAL",
            _ => "UNKNOWN",
        }
    }

    /// Returns the number of the class in sysexits.h. Returns `None` if sysexits.h has no such number; the program then
    /// uses the number of its status.
    fn sysexits(self) -> Option<u8> {
        Some(match self {
            Self::Success | Self::Silence | Self::Late | Self::Different | Self::Interrupted => {
                return None;
            }
            Self::Usage => 64,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::HostNotFound => 68,
            Self::Unavailable => 69,
            Self::System => 71,
            Self::CannotCreate => 73,
            Self::Output => 74,
            Self::Temporary => 75,
            Self::Protocol => 76,
            Self::Refused => 77,
            Self::Configuration => 78,
        })
    }
}

/// Set by `--exit-status sysexits`. The value is global because the main thread and the thread of the deadline both end
/// the process, and share no other state.
static USES_SYSEXITS: AtomicBool = AtomicBool::new(false);

/// Selects the numbers of sysexits.h if `sysexits` is `true`, and those of the mosquitto tools otherwise.
pub(crate) fn use_sysexits(sysexits: bool) {
    USES_SYSEXITS.store(sysexits, Ordering::Relaxed);
}

/// Set by `--check`. The value is global for the same reason as `USES_SYSEXITS`.
static IS_PLUGIN: AtomicBool = AtomicBool::new(false);

/// Selects the exit statuses and the output of monitoring plugins, whatever `--exit-status` says.
pub(crate) fn use_plugin_statuses() {
    IS_PLUGIN.store(true, Ordering::Relaxed);
}

/// Returns `true` if the program is a monitoring plugin.
pub(crate) fn is_plugin() -> bool {
    IS_PLUGIN.load(Ordering::Relaxed)
}

/// Set by `--diff`. The value is global for the same reason as `USES_SYSEXITS`.
static IS_DIFF: AtomicBool = AtomicBool::new(false);

/// Selects the exit statuses of diff(1): 1 for a difference, and 2 instead of 1 for a failure.
pub(crate) fn use_diff_statuses() {
    IS_DIFF.store(true, Ordering::Relaxed);
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.exit_code().into()
    }
}
