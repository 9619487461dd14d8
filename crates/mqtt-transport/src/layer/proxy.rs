//! Credentials and errors that SOCKS5 and HTTP proxies share.

use std::fmt;
use std::io;

/// User name and password for a proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name: at most 255 bytes for SOCKS5, and without a colon for HTTP.
    pub user_name: String,
    /// Password: at most 255 bytes for SOCKS5.
    pub password: String,
}

// The implementation is not derived, because the password must not appear in logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

/// Reason why a proxy did not connect to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// The host name or the credentials are too long for the protocol.
    TooLong,
    /// The answer of the proxy is not HTTP.
    NotHttp,
    /// The answer of the proxy is not SOCKS5.
    NotSocks,
    /// The proxy accepts none of the authentication methods of this client.
    Method,
    /// The proxy rejected the user name and password.
    Credentials,
    /// The proxy did not connect, and returned this SOCKS5 reply code.
    Refused(u8),
    /// The proxy did not connect, and returned this HTTP status.
    Status(u16),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the host, the user name or the password is longer than 255 bytes",
            Self::NotHttp => "it does not speak HTTP",
            Self::NotSocks => "it does not speak SOCKS5",
            Self::Method => "it requires a user name and a password in --proxy, or an unsupported authentication method",
            Self::Credentials => "it rejected the user name and password of --proxy",
            Self::Refused(1) => "it reports a general failure",
            Self::Refused(2) => "its rules forbid the connection",
            Self::Refused(3) => "it cannot reach the network",
            Self::Refused(4) => "it cannot reach the host",
            Self::Refused(5) => "the server refused its connection",
            Self::Refused(6) => "the time to live expired",
            Self::Refused(_) => "it does not support the request",
            Self::Status(403) => "its rules forbid the connection (status 403)",
            Self::Status(status @ (502..=504)) => {
                return write!(f, "it cannot reach the host (status {status})");
            }
            Self::Status(status) => return write!(f, "it answered with HTTP status {status}"),
        })
    }
}

impl std::error::Error for ProxyError {}

impl From<ProxyError> for io::Error {
    fn from(error: ProxyError) -> Self {
        let kind = match error {
            // These failures may be temporary. This error kind makes the client retry.
            ProxyError::Refused(1 | 3..=6) | ProxyError::Status(500..) => {
                io::ErrorKind::ConnectionRefused
            }
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
