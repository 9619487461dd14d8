//! Every exit status of the programs with its meaning.

use std::process::ExitCode;

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
