//! [`ConnectError`] is the reason why a client is not connected.

use std::sync::Arc;
use std::{fmt, io};

use mqtt_codec::{EncodeError, ReasonCode};
use mqtt_session::CloseReason;
#[cfg(feature = "tls")]
use mqtt_transport::TlsError;
use mqtt_transport::reason as words;

use super::reason::write_reason;
use crate::error::ClientError;

/// Reason why a client is not connected.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectError {
    /// An option or the URL is invalid.
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// The invalid value, the reason, and the expected value.
        message: String,
    },
    /// The host name has no address.
    Resolve {
        /// Server as host and port.
        server: String,
        /// Error of the resolver.
        source: Arc<io::Error>,
    },
    /// No address of the server accepts connections.
    Unreachable {
        /// Server as host and port.
        server: String,
        /// Error of the last address.
        source: Arc<io::Error>,
    },
    /// The TLS handshake failed, for example because the certificate is not trusted.
    Tls {
        /// Server as host and port.
        server: String,
        /// Error of TLS.
        source: Arc<io::Error>,
    },
    /// The handshake of a proxy or of WebSocket failed, or the connection ended during a handshake.
    Transport {
        /// Server as host and port.
        server: String,
        /// Error of the layer.
        source: Arc<io::Error>,
    },
    /// The server rejected the user name or the password.
    Credentials {
        /// Server as host and port.
        server: String,
    },
    /// The client is not authorized to connect.
    NotAuthorized {
        /// Server as host and port.
        server: String,
    },
    /// The server rejected the connection for another reason.
    Refused {
        /// Server as host and port.
        server: String,
        /// Reason code in CONNACK.
        reason_code: ReasonCode,
        /// Explanation of the server.
        reason_string: Option<String>,
    },
    /// The server has ended the connection with DISCONNECT.
    Disconnected {
        /// Server as host and port.
        server: String,
        /// Reason code in DISCONNECT.
        reason_code: ReasonCode,
        /// Explanation of the server.
        reason_string: Option<String>,
    },
    /// The connection was lost.
    Lost {
        /// Server as host and port.
        server: String,
    },
    /// The server did not answer in time.
    Timeout {
        /// Server as host and port.
        server: String,
    },
    /// The server violated the protocol.
    Protocol {
        /// Server as host and port.
        server: String,
        /// The violation.
        reason: CloseReason,
    },
    /// The operating system has no resources for the client, for example no thread.
    System(Arc<io::Error>),
    /// A field of CONNECT cannot be encoded.
    Encode(EncodeError),
    /// The application has ended the client.
    Closed,
}

impl ConnectError {
    /// Returns the error of an invalid option. `message` contains the value, the reason, and the expected value.
    pub(in crate::client) fn invalid_option(
        option: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::InvalidOption {
            option,
            message: message.into(),
        }
    }

    /// Returns the kind of error for an error of the event loop.
    pub(in crate::client) fn new(server: String, error: ClientError) -> Self {
        match error {
            ClientError::Closed(reason) => Self::of_close(server, reason),
            ClientError::Connect(source) if source.kind() == io::ErrorKind::TimedOut => {
                Self::Timeout { server }
            }
            ClientError::Connect(source) => Self::Unreachable {
                server,
                source: Arc::new(source),
            },
            ClientError::Lookup(source) => Self::Resolve {
                server,
                source: Arc::new(source),
            },
            ClientError::Transport(source) => {
                let is_tls = is_tls_error(&source);
                let source = Arc::new(source);
                if is_tls {
                    Self::Tls { server, source }
                } else {
                    Self::Transport { server, source }
                }
            }
            ClientError::Encode(error) => Self::Encode(error),
            ClientError::Io(error) => Self::System(Arc::new(error)),
            // `Publish` occurs if the server does not accept a message of a lost session, for example because of its
            // QoS. `Topic` does not occur.
            ClientError::Publish(_) | ClientError::Topic(_) => Self::Lost { server },
        }
    }

    fn of_close(server: String, reason: CloseReason) -> Self {
        match reason {
            CloseReason::ConnectionLost => Self::Lost { server },
            CloseReason::HandshakeTimeout
            | CloseReason::KeepAliveTimeout
            | CloseReason::ResponseTimeout(_) => Self::Timeout { server },
            CloseReason::Refused(connack) => match connack.reason_code {
                ReasonCode::BadUserNameOrPassword => Self::Credentials { server },
                ReasonCode::NotAuthorized => Self::NotAuthorized { server },
                reason_code => Self::Refused {
                    server,
                    reason_code,
                    reason_string: connack.properties.reason_string,
                },
            },
            CloseReason::Disconnected(disconnect) => Self::Disconnected {
                server,
                reason_code: disconnect.reason_code,
                reason_string: disconnect.properties.reason_string,
            },
            reason => Self::Protocol { server, reason },
        }
    }
}

#[cfg(feature = "tls")]
fn is_tls_error(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<TlsError>())
}

#[cfg(not(feature = "tls"))]
fn is_tls_error(_: &io::Error) -> bool {
    false
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidOption { option, message } => write!(f, "invalid {option}: {message}"),
            Self::Resolve { server, source } => {
                write!(f, "cannot look up {server}: {}", words(source))
            }
            Self::Unreachable { server, source } | Self::Transport { server, source } => {
                write!(f, "cannot connect to {server}: {}", words(source))
            }
            Self::Tls { server, source } => {
                write!(f, "cannot connect to {server} with TLS: {}", words(source))
            }
            Self::Credentials { server } => {
                write!(f, "{server} rejected the user name or the password")
            }
            Self::NotAuthorized { server } => {
                write!(f, "this client is not authorized to connect to {server}")
            }
            Self::Refused {
                server,
                reason_code,
                reason_string,
            } => {
                write!(f, "{server} rejected the connection: ")?;
                write_reason(f, *reason_code, reason_string.as_deref())
            }
            Self::Disconnected {
                server,
                reason_code,
                reason_string,
            } => {
                write!(f, "{server} ended the connection: ")?;
                write_reason(f, *reason_code, reason_string.as_deref())
            }
            Self::Lost { server } => write!(f, "the connection to {server} was lost"),
            Self::Timeout { server } => write!(f, "{server} did not answer in time"),
            Self::Protocol { server, reason } => {
                write!(f, "{server} violated the protocol: {reason}")
            }
            Self::System(error) => error.fmt(f),
            Self::Encode(error) => write!(f, "cannot encode CONNECT: {error}"),
            Self::Closed => f.write_str("the application has ended the client"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { source, .. }
            | Self::Unreachable { source, .. }
            | Self::Tls { source, .. }
            | Self::Transport { source, .. }
            | Self::System(source) => Some(&**source),
            Self::Protocol { reason, .. } => Some(reason),
            Self::Encode(error) => Some(error),
            _ => None,
        }
    }
}
