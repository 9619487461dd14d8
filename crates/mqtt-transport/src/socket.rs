//! The two kinds of sockets that streams are made of.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

/// A connected socket, or one that is being connected.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// The number of unsent bytes that the system takes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 16 * 1024;

/// Does the same with either.
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

    /// What comes next is acknowledged at once, where the system can do that: a peer that waits for the
    /// acknowledgement of a small packet before it sends another (Nagle's algorithm) would wait 40 ms. It holds until
    /// the next write.
    pub(crate) fn acknowledge_at_once(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Self::Tcp(socket) = self {
            // Only slower without it.
            let _ = socket2::SockRef::from(socket).set_tcp_quickack(true);
        }
    }

    /// Limits the bytes that the system takes and has not sent yet, where it can do that. Bytes that were sent and are
    /// not acknowledged do not count, so that a fast link is as fast as before.
    pub(crate) fn limit_unsent(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Self::Tcp(socket) = self {
            // Without it only a slow link is judged less well.
            let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(UNSENT);
        }
    }

    pub(crate) fn shut_down_writing(&self) -> io::Result<()> {
        with!(self, socket => socket.shutdown(std::net::Shutdown::Write))
    }

    /// Whether it is connected; an error if it failed.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = with!(self, socket => socket.take_error())? {
            return Err(error);
        }
        let peer = with!(self, socket => socket.peer_addr().map(drop));
        match peer {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The address of the peer; none for a Unix socket.
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
