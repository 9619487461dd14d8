//! A listening socket.

use std::io;
use std::net::SocketAddr;

use mio::event::Source;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Stream;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;

/// Accepts connections at one address. Non-blocking; a mio [`Source`].
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Listens at `address`; port 0 takes a free one. An IPv6 address takes no IPv4 connections, so
    /// that both families can listen at the same port.
    ///
    /// # Errors
    /// If the address is in use, not this machine's, or not allowed.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
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
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpListener::from_std(socket.into()),
        })
    }

    /// The next connection and its address; `None` if there is none now.
    ///
    /// # Errors
    /// If the system has no room for another one. Errors of a connection that is gone already are
    /// passed over.
    pub fn accept(&self) -> io::Result<Option<(Stream, SocketAddr)>> {
        loop {
            return match self.socket.accept() {
                Ok((socket, address)) => Ok(Some((Stream::new(socket), address))),
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

    /// Where it listens; tells the port that was taken.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl Source for Listener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}
