//! Listening sockets: TCP and Unix.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};

use crate::listener_transport::ListenerTransport;
use crate::stream::Stream;

/// The number of connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;

/// A socket that accepts connections at one address. Non-blocking; a mio [`Source`].
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    transport: ListenerTransport,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

/// Evaluates the same expression for either kind of socket.
macro_rules! with {
    ($self:expr, $socket:ident => $do:expr) => {
        match $self {
            Socket::Tcp($socket) => $do,
            #[cfg(unix)]
            Socket::Unix($socket, _) => $do,
        }
    };
}

/// The mode of Unix sockets: access for owner and group.
#[cfg(unix)]
const UNIX_SOCKET_MODE: u32 = 0o770;

impl Listener {
    /// Listens at `address`. Port 0 stands for a free port. A listener at an IPv6 address accepts no IPv4 connections,
    /// so that both families can listen at the same port.
    ///
    /// # Errors
    /// If the address is in use, is not an address of this machine, or is not permitted.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A restarted broker must not wait until the system forgets the old connections. On Windows the option would
        // let two programs listen at one port.
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        // Connections inherit this option. It detects a lost client without MQTT keep alive, after hours.
        socket.set_keepalive(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Socket::Tcp(TcpListener::from_std(socket.into())),
            transport: ListenerTransport::default(),
        })
    }

    /// Listens at a path. A stale socket at the path is replaced, and the socket is removed with this listener. Its
    /// owner and group may connect, independent of umask: as with mosquitto, the group is the way to admit other
    /// programs.
    ///
    /// # Errors
    /// If the path is another file, another program listens at it, or the user has no permission.
    #[cfg(unix)]
    pub fn bind_unix(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let is_socket = check_socket_path(path)?;
        // A socket that refuses a connection is left from a broker that was killed.
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        let listener = Self {
            socket: Socket::Unix(UnixListener::bind(path)?, path.to_owned()),
            transport: ListenerTransport::default(),
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(UNIX_SOCKET_MODE))?;
        Ok(listener)
    }

    /// Sets the transport of the connections that are accepted from now on.
    pub fn set_transport(&mut self, transport: ListenerTransport) {
        self.transport = transport;
    }

    /// Accepts the next connection. Returns it with the peer's address as text, or `None` if no connection waits.
    ///
    /// # Errors
    /// If the system has no resources for another connection. Errors of connections that are lost already are ignored.
    pub fn accept(&self) -> io::Result<Option<(Stream, String)>> {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(socket) => socket.accept().map(|(socket, address)| {
                    // The caller writes all packets that are ready in one call, so Nagle's algorithm would only add
                    // delay.
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
                    // The client was gone before it was accepted.
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset => continue,
                    _ => Err(error),
                },
            };
        }
    }

    /// Returns the address or path as text, with the port that the system chose.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn name(&self) -> io::Result<String> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(|address| address.to_string()),
            #[cfg(unix)]
            Socket::Unix(_, path) => Ok(path.display().to_string()),
        }
    }

    /// Returns the address, with the port that the system chose; `None` for a Unix socket.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(Some),
            #[cfg(unix)]
            Socket::Unix(..) => Ok(None),
        }
    }
}

/// Returns `true` if there is a socket at the path, and `false` if there is nothing.
///
/// # Errors
/// If there is something else. The error of the system for it is that the address is in use, as if somebody listened.
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

#[cfg(unix)]
impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path); // if this fails, the next start replaces the stale socket
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
