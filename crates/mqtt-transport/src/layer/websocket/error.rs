//! Errors of a WebSocket connection, and status codes of Close frames (RFC 6455, section 7.4.1).

use std::fmt;
use std::io;

pub(super) const NORMAL_CLOSURE: u16 = 1000;
pub(super) const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;

/// Reason why a WebSocket connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The peer closed the connection with this status code.
    Closed(u16),
    /// The peer sent a frame that RFC 6455 does not allow.
    Frame,
    /// The head of the HTTP request or response exceeds the limit.
    HeadTooLarge,
    /// The peer sent bytes that are not HTTP.
    NotHttp,
    /// The request is not a request for MQTT over WebSocket. The field is the reason.
    Request(&'static str),
    /// The server answered with this HTTP status.
    Refused(u16),
    /// The response of the server is invalid. The field is the reason.
    Response(&'static str),
    /// The request comes from a web page with this origin, which is not permitted.
    Origin(String),
    /// The peer sent a text frame. MQTT allows only binary frames [MQTT-6.0.0-1].
    Text,
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(code) => write!(f, "the peer closed the WebSocket with code {code}"),
            Self::Frame => f.write_str("the peer sent an invalid WebSocket frame"),
            Self::HeadTooLarge => {
                f.write_str("the HTTP header of the WebSocket handshake is too long")
            }
            Self::NotHttp => f.write_str("the peer does not speak WebSocket on this port"),
            Self::Request(what) => write!(
                f,
                "the peer sent no request for MQTT over WebSocket: {what}"
            ),
            Self::Refused(404) => f.write_str(
                "the server has no WebSocket at this path (HTTP status 404, see --ws-path)",
            ),
            Self::Refused(status) => write!(f, "the server answered with HTTP status {status}"),
            Self::Response(what) => write!(f, "the answer of the server is invalid: {what}"),
            Self::Origin(origin) => write!(
                f,
                "pages from '{origin}' are not allowed (see websockets_origin)"
            ),
            Self::Text => f.write_str("the peer sent a text frame, but MQTT uses binary frames"),
        }
    }
}

impl std::error::Error for WebSocketError {}

impl From<WebSocketError> for io::Error {
    fn from(error: WebSocketError) -> Self {
        let kind = match error {
            WebSocketError::Closed(_) => io::ErrorKind::ConnectionReset,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl WebSocketError {
    /// Returns the status code of the Close frame that reports the error to the peer.
    pub(super) fn close_code(&self) -> u16 {
        match self {
            Self::Text => UNSUPPORTED_DATA,
            Self::Closed(_) => NORMAL_CLOSURE,
            _ => PROTOCOL_ERROR,
        }
    }
}
