//! [`LayerKind`] names the protocol of a layer. [`HandshakeError`] is an error of the socket during a handshake.

use std::fmt;
use std::io;

use crate::reason::reason;

/// Protocol of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerKind {
    /// A proxy: SOCKS5, or HTTP with the method CONNECT.
    Proxy,
    /// TLS.
    Tls,
    /// WebSocket.
    WebSocket,
}

/// Error of a socket that failed during the handshake of a layer. The layer shows the user which part of the
/// configuration may be wrong.
#[derive(Debug)]
pub struct HandshakeError {
    /// The layer whose handshake was in progress.
    pub layer: LayerKind,
    error: io::Error,
}

impl HandshakeError {
    pub(super) fn new(layer: LayerKind, error: io::Error) -> Self {
        Self { layer, error }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => f.write_str(
                "the peer closed the connection during the handshake; it may speak another protocol on this port",
            ),
            io::ErrorKind::TimedOut => f.write_str("the handshake did not finish in time"),
            _ => f.write_str(&reason(&self.error)),
        }
    }
}

impl std::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
