//! A connected TCP or Unix socket behind one type.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

/// A socket that is connected or being connected.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// The number of unsent bytes that the system accepts for a socket (`TCP_NOTSENT_LOWAT`).
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 16 * 1024;

/// Evaluates the same expression for either kind of socket.
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

    /// Makes the system acknowledge the next segments immediately (`TCP_QUICKACK`), until the next write. A peer with
    /// Nagle's algorithm waits for the acknowledgement of a small packet before it sends the next one, and a delayed
    /// acknowledgement costs 40 ms.
    pub(crate) fn acknowledge_at_once(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Self::Tcp(socket) = self {
            // Without the option the dialogue is slower, but correct.
            let _ = socket2::SockRef::from(socket).set_tcp_quickack(true);
        }
    }

    /// Limits the bytes that the system accepts before it sends them. Bytes in flight do not count, so the limit costs no
    /// throughput.
    pub(crate) fn limit_unsent(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Self::Tcp(socket) = self {
            // Without the option the client only estimates the speed of a slow link less well.
            let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(UNSENT);
        }
    }

    pub(crate) fn shut_down_writing(&self) -> io::Result<()> {
        with!(self, socket => socket.shutdown(std::net::Shutdown::Write))
    }

    /// Returns `true` if the socket is connected, `false` if it is being connected.
    ///
    /// # Errors
    /// If the connection attempt failed.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        // A failed attempt also makes the socket writable, so readiness alone does not mean success.
        if let Some(error) = with!(self, socket => socket.take_error())? {
            return Err(error);
        }
        let peer = with!(self, socket => socket.peer_addr().map(drop));
        match peer {
            Ok(()) => Ok(true),
            // The attempt is in progress, as no error was pending.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    /// If the socket is not connected, or is a Unix socket.
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
