//! The reasons of a disconnect or a rejected CONNECT, as texts of the log. These are the texts of mosquitto 2.1,
//! because programs such as fail2ban match them. Details that mosquitto does not log follow in parentheses.

use std::fmt;

use mqtt_codec::{DecodeError, ReasonCode};
use mqtt_session::{CloseReason, Excerpt};

/// The text of a `CloseReason::Protocol` that the broker has decided. [`Ending`] then prints the reason code instead.
pub(crate) const ENDED_BY_BROKER: &str = "ended by the broker";

/// The end of the log line about a disconnected client: empty after DISCONNECT with reason code 0x00, otherwise a colon
/// and the reason.
pub(crate) struct Ending<'a>(pub(crate) &'a CloseReason);

impl fmt::Display for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CloseReason::Disconnected(disconnect) => match disconnect.reason_code {
                ReasonCode::Success => Ok(()),
                code => write!(f, ": {}", Words(code)),
            },
            CloseReason::ConnectionLost => f.write_str(": connection closed by client"),
            // mosquitto uses this text for both timeouts.
            CloseReason::KeepAliveTimeout | CloseReason::HandshakeTimeout => {
                f.write_str(": exceeded timeout")
            }
            CloseReason::Protocol(code, ENDED_BY_BROKER) => write!(f, ": {}", Words(*code)),
            // The client has not caused this end, so the line does not report a protocol error.
            CloseReason::Protocol(ReasonCode::QuotaExceeded, what) => write!(f, ": {what}"),
            CloseReason::Protocol(_, what) => write!(f, ": protocol error ({what})"),
            CloseReason::Decode(DecodeError::PacketTooLarge) => f.write_str(": oversize packet"),
            CloseReason::Decode(error) => match error.reason_code() {
                ReasonCode::MalformedPacket => write!(f, ": malformed packet ({error})"),
                _ => write!(f, ": protocol error ({error})"),
            },
            reason => write!(f, ": {reason}"),
        }
    }
}

/// The client identifier in a line of the log, or `<unknown>` if it is empty, as in mosquitto.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("<unknown>"),
            name => Excerpt(name).fmt(f),
        }
    }
}

/// The text of a reason code in the log.
pub(crate) struct Words(pub(crate) ReasonCode);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            // mosquitto uses the same text for a wrong password and for a missing permission.
            ReasonCode::NotAuthorized | ReasonCode::BadUserNameOrPassword => "not authorised",
            ReasonCode::SessionTakenOver => "session taken over",
            ReasonCode::TopicAliasInvalid => "topic alias invalid",
            code => return code.fmt(f),
        })
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::Disconnect;

    use super::*;

    #[test]
    fn reasons_have_the_words_of_mosquitto() {
        let disconnected = |code| CloseReason::Disconnected(Box::new(Disconnect::new(code)));
        for (reason, expected) in [
            (disconnected(ReasonCode::Success), ""),
            (CloseReason::ConnectionLost, ": connection closed by client"),
            (CloseReason::KeepAliveTimeout, ": exceeded timeout"),
            (CloseReason::HandshakeTimeout, ": exceeded timeout"),
            (
                CloseReason::Protocol(ReasonCode::SessionTakenOver, ENDED_BY_BROKER),
                ": session taken over",
            ),
            (
                CloseReason::Protocol(ReasonCode::NotAuthorized, ENDED_BY_BROKER),
                ": not authorised",
            ),
            (
                CloseReason::Decode(DecodeError::PacketTooLarge),
                ": oversize packet",
            ),
            (
                CloseReason::Decode(DecodeError::FixedHeaderFlags),
                ": malformed packet (invalid flags in the fixed header)",
            ),
            (
                CloseReason::Decode(DecodeError::UnexpectedPacket),
                ": protocol error (a packet type that is not allowed at this point)",
            ),
        ] {
            assert_eq!(Ending(&reason).to_string(), expected);
        }
        assert_eq!(
            Words(ReasonCode::BadUserNameOrPassword).to_string(),
            "not authorised"
        );
    }
}
