//! [`Socket`] is a connected TCP or Unix socket with one set of methods.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

/// Socket that is connected, or whose connection attempt is in progress.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Maximum number of unsent bytes that the operating system accepts for a socket (`TCP_NOTSENT_LOWAT`).
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 16 * 1024;

/// Evaluates the same expression for both kinds of socket.
macro_rules! with {
    ($self:expr, $socket:ident => $do:expr) => {
        match $self {
            Socket::Tcp($socket) => $do,
            #[cfg(unix)]
            Socket::Unix($socket) => $do,
        }
    };
}

impl Socket {
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        with!(self, socket => socket.read(buffer))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        with!(self, socket => socket.write(bytes))
    }

    /// Makes the operating system acknowledge the next segments immediately (`TCP_QUICKACK`), until the next write. A
    /// peer with Nagle's algorithm sends a small packet only after the previous one was acknowledged, and a delayed
    /// acknowledgement costs 40 ms.
    pub(crate) fn acknowledge_at_once(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Self::Tcp(socket) = self {
            // If the option cannot be set, the exchange is slower but still correct, so the error is ignored.
            let _ = socket2::SockRef::from(socket).set_tcp_quickack(true);
        }
    }

    /// Limits the bytes that the operating system accepts before it sends them. Bytes in flight do not count, so the
    /// limit does not reduce the throughput.
    pub(crate) fn limit_unsent(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Self::Tcp(socket) = self {
            // If the option cannot be set, the client estimates the speed of a slow link less precisely, so the error
            // is ignored.
            let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(UNSENT);
        }
    }

    /// Ends the sending direction of the connection.
    pub(crate) fn shut_down_writing(&self) -> io::Result<()> {
        with!(self, socket => socket.shutdown(std::net::Shutdown::Write))
    }

    /// Returns `true` if the socket is connected, and `false` if the attempt is in progress.
    ///
    /// # Errors
    /// Returns an error if the connection attempt has failed.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        // A failed attempt makes the socket writable too, so readiness alone does not mean success.
        if let Some(error) = with!(self, socket => socket.take_error())? {
            return Err(error);
        }
        let peer = with!(self, socket => socket.peer_addr().map(drop));
        match peer {
            Ok(()) => Ok(true),
            // No error was pending, so the attempt is still in progress.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    /// Returns an error if the socket is not connected, or is a Unix socket.
    pub(crate) fn peer_address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr(),
            #[cfg(unix)]
            Self::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }
}

impl Source for Socket {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        with!(self, socket => socket.register(registry, token, interests))
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        with!(self, socket => socket.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        with!(self, socket => socket.deregister(registry))
    }
}
