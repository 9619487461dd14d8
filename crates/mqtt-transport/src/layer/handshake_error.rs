//! The protocols of layers, and the error of a socket that fails during the handshake of one.

use std::fmt;
use std::io;

use crate::reason::reason;

/// The protocol of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerKind {
    /// SOCKS5, or HTTP with CONNECT.
    Proxy,
    /// TLS.
    Tls,
    /// WebSocket.
    WebSocket,
}

/// The error of a socket that failed before a layer was open. The layer tells the user which part of the configuration
/// to look at.
#[derive(Debug)]
pub struct HandshakeError {
    /// The layer that was shaking hands.
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
