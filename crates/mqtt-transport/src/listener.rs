//! [`Listener`] is a listening TCP or Unix socket. A broker has one for each address at which clients connect.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};

use crate::listener_transport::ListenerTransport;
use crate::stream::Stream;

/// Number of connections that the operating system queues until the program accepts them.
const BACKLOG: i32 = 1024;

/// Non-blocking socket that accepts connections at one address. It can be registered with mio as a [`Source`].
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    transport: ListenerTransport,
}

/// Listening socket. A Unix socket has the path that must be removed in the end.
#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

/// Evaluates the same expression for both kinds of socket.
macro_rules! with {
    ($self:expr, $socket:ident => $do:expr) => {
        match $self {
            Socket::Tcp($socket) => $do,
            #[cfg(unix)]
            Socket::Unix($socket, _) => $do,
        }
    };
}

/// Mode of Unix sockets: access for owner and group.
#[cfg(unix)]
const UNIX_SOCKET_MODE: u32 = 0o770;

impl Listener {
    /// Listens at `address`. With port 0 the operating system chooses a free port. A listener at an IPv6 address
    /// accepts no IPv4 connections, so that both families can listen at the same port.
    ///
    /// # Errors
    /// Returns an error if the address is in use, does not belong to this machine, or is not permitted.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A restarted broker must be able to listen while old connections are still in TIME_WAIT. On Windows this
        // option would let two programs listen at the same port.
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        // Accepted connections inherit this option. After hours, its probes detect a lost client that has no MQTT keep
        // alive.
        socket.set_keepalive(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Socket::Tcp(TcpListener::from_std(socket.into())),
            transport: ListenerTransport::default(),
        })
    }

    /// Listens at a path. A stale socket at the path is replaced. Dropping the listener removes the socket. The owner
    /// and the group may connect, independent of the umask. An administrator admits other programs through the group,
    /// as with mosquitto.
    ///
    /// # Errors
    /// Returns an error if the path is another kind of file, if another program listens at it, or without permission.
    #[cfg(unix)]
    pub fn bind_unix(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        check_socket_path(path)?;
        remove_stale_socket(path)?;
        let listener = Self {
            socket: Socket::Unix(UnixListener::bind(path)?, path.to_owned()),
            transport: ListenerTransport::default(),
        };
        // `bind` has applied the umask, which may exclude the group.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(UNIX_SOCKET_MODE))?;
        Ok(listener)
    }

    /// Sets the transport for connections that are accepted in the future.
    pub fn set_transport(&mut self, transport: ListenerTransport) {
        self.transport = transport;
    }

    /// Accepts the next connection. Returns the stream and the peer's address as text, or `None` if no connection
    /// waits.
    ///
    /// # Errors
    /// Returns an error if the operating system has no resources for another connection. A connection that the client
    /// has already closed is skipped.
    pub fn accept(&self) -> io::Result<Option<(Stream, String)>> {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(socket) => socket.accept().map(|(socket, address)| {
                    // The caller writes all available packets in one call, so Nagle's algorithm would only add delay.
                    let _ = socket.set_nodelay(true);
                    (crate::socket::Socket::Tcp(socket), address.to_string())
                }),
                #[cfg(unix)]
                Socket::Unix(socket, path) => socket.accept().map(|(socket, _)| {
                    (
                        crate::socket::Socket::Unix(socket),
                        path.display().to_string(),
                    )
                }),
            };
            return match accepted {
                Ok((socket, from)) => {
                    let stream = Stream::new(socket).with_layers(self.transport.layers()?);
                    Ok(Some((stream, from)))
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(None),
                    // The client has closed the connection before it was accepted.
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset => continue,
                    _ => Err(error),
                },
            };
        }
    }

    /// Returns the address or path as text. The address contains the port that the operating system has chosen.
    ///
    /// # Errors
    /// Returns an error if the operating system does not return the address.
    pub fn name(&self) -> io::Result<String> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(|address| address.to_string()),
            #[cfg(unix)]
            Socket::Unix(_, path) => Ok(path.display().to_string()),
        }
    }

    /// Returns the address with the port that the operating system has chosen, or `None` for a Unix socket.
    ///
    /// # Errors
    /// Returns an error if the operating system does not return the address.
    pub fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(Some),
            #[cfg(unix)]
            Socket::Unix(..) => Ok(None),
        }
    }
}

/// Returns `true` if the path is a socket, and `false` if nothing is at the path.
///
/// # Errors
/// Returns an error if the path is another kind of file. Binding would report "address in use" instead, as if another
/// program listened there.
#[cfg(unix)]
pub fn check_socket_path(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::metadata(path) {
        Ok(data) if data.file_type().is_socket() => Ok(true),
        Ok(_) => {
            let kind = io::ErrorKind::AlreadyExists;
            Err(io::Error::new(kind, "the path exists and is not a socket"))
        }
        Err(_) => Ok(false),
    }
}

/// Removes a Unix socket at which no program listens, such as that of a program that was killed. Any other file stays, and
/// so does a socket whose program cannot be reached, for example without permission.
///
/// # Errors
/// Returns an error if the socket cannot be removed.
#[cfg(unix)]
pub fn remove_stale_socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::metadata(path).is_ok_and(|data| data.file_type().is_socket());
    // The socket does not block: the program that listens may have no room for another connection.
    let is_refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(is_refused) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(unix)]
impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path); // If this fails, the next start replaces the stale socket.
        }
    }
}

impl Source for Listener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        with!(&mut self.socket, socket => socket.register(registry, token, interests))
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        with!(&mut self.socket, socket => socket.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        with!(&mut self.socket, socket => socket.deregister(registry))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::{Listener, remove_stale_socket};

    #[test]
    fn socket_file_without_a_listener_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _listener = Listener::bind_unix(&path).unwrap();
        // The new listener answers, so a second one cannot take its place.
        assert!(Listener::bind_unix(&path).is_err());
    }

    #[test]
    fn socket_file_that_fails_for_another_reason_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // A stream cannot connect to a socket for datagrams, although its program runs.
        let _datagrams = UnixDatagram::bind(&path).unwrap();
        remove_stale_socket(&path).unwrap();
        assert!(Listener::bind_unix(&path).is_err());
        assert!(path.exists());
    }
}
