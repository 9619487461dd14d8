//! Every exit status of the programs, with its meaning. The numbers are those of the mosquitto tools, because scripts
//! may check them. `--help-all` of each program lists the statuses that the program uses.

use std::process::ExitCode;

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
            Self::Failed => 1,
            // As in mosquitto, the same number has one meaning for the clients and another one for the broker.
            Self::ProtocolError | Self::Store => 2,
            Self::Configuration => 3,
            Self::Disconnected => 4,
            Self::ConnectionLost => 7,
            Self::AccessFile => 13,
            Self::KeepAlive => 19,
            Self::TimedOut => 27,
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

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.code().into()
    }
}
