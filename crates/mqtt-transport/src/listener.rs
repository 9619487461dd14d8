//! A listening socket.

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

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;

/// Accepts connections at one address. Non-blocking; a mio [`Source`].
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

/// Does the same with either.
macro_rules! with {
    ($self:expr, $socket:ident => $do:expr) => {
        match $self {
            Socket::Tcp($socket) => $do,
            #[cfg(unix)]
            Socket::Unix($socket, _) => $do,
        }
    };
}

/// The mode of Unix sockets: read and write for owner and group.
#[cfg(unix)]
const UNIX_SOCKET_MODE: u32 = 0o770;

impl Listener {
    /// Listens at `address`; port 0 takes a free one. An IPv6 address takes no IPv4 connections, so
    /// that both families can listen at the same port.
    ///
    /// # Errors
    /// If the address is in use, not this machine's, or not allowed.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A broker that is started again must not wait for old connections to be forgotten. (On
        // Windows the option would let two programs listen at one port.)
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        // Its connections inherit it: a client without keep alive that is gone is found out after hours.
        socket.set_keepalive(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Socket::Tcp(TcpListener::from_std(socket.into())),
            transport: ListenerTransport::default(),
        })
    }

    /// Listens at a path, where a socket that nobody listens at any more is replaced. It is removed
    /// with this listener. Its owner and group may connect, whatever umask says: as with mosquitto, the group is how
    /// other programs of the machine are let in.
    ///
    /// # Errors
    /// If something else is there, somebody listens there, or it is not allowed.
    #[cfg(unix)]
    pub fn bind_unix(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let is_socket = check_socket_path(path)?;
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

    /// The next connection and who it is from, for people; `None` if there is none now.
    ///
    /// # Errors
    /// If the system has no room for another one. Errors of a connection that is gone already are
    /// passed over.
    pub fn accept(&self) -> io::Result<Option<(Stream, String)>> {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(socket) => socket.accept().map(|(socket, address)| {
                    // Packets are gathered to one write for each turn: waiting wins nothing.
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
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset => continue,
                    _ => Err(error),
                },
            };
        }
    }

    /// Where it listens, for people; tells the port that was taken.
    ///
    /// # Errors
    /// Those of the system.
    pub fn name(&self) -> io::Result<String> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(|address| address.to_string()),
            #[cfg(unix)]
            Socket::Unix(_, path) => Ok(path.display().to_string()),
        }
    }

    /// The address where it listens, and the port that was taken; none for a path.
    ///
    /// # Errors
    /// Those of the system.
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
            let _ = std::fs::remove_file(path); // nobody listens there any more
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
