//! A connected socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::event::{Event, Source};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// A byte stream to the peer. Non-blocking; a mio [`Source`].
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// The peer has closed its side; what it sent before may still be there to read.
    peer_closed: bool,
}

/// How far a read went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// The peer has closed its side.
    Closed,
    /// Nothing more is there now; readiness will tell when there is.
    Drained,
    /// The buffer was filled; there may be more.
    More,
}

impl Stream {
    pub(crate) fn new(socket: TcpStream) -> Self {
        // Packets are gathered to one write for each turn, so nothing is won by waiting for more.
        let _ = socket.set_nodelay(true);
        Self {
            socket,
            peer_closed: false,
        }
    }

    /// Readiness came. To be called with each event, as some of them come only once.
    pub fn handle_event(&mut self, event: &Event) {
        self.peer_closed |= event.is_read_closed() || event.is_error();
    }

    /// The peer has closed its side: a short read is not taken for all there is.
    pub fn expect_end(&mut self) {
        self.peer_closed = true;
    }

    /// Reads once into `buffer`, which is not empty; says how many bytes came.
    ///
    /// # Errors
    /// Those of the socket, but for those that only say "not now".
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, ReadStatus)> {
        loop {
            return match self.socket.read(buffer) {
                Ok(0) => Ok((0, ReadStatus::Closed)),
                Ok(count) if count == buffer.len() => Ok((count, ReadStatus::More)),
                Ok(count) if self.peer_closed => Ok((count, ReadStatus::More)),
                // A short read means that the socket is empty: no second call to find that out.
                Ok(count) => Ok((count, ReadStatus::Drained)),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // Not closed after all: the event was of an address that was tried before.
                    self.peer_closed = false;
                    Ok((0, ReadStatus::Drained))
                }
                Err(error) => Err(error),
            };
        }
    }

    /// Writes as much of `bytes` as the socket takes now, perhaps nothing.
    ///
    /// # Errors
    /// Those of the socket, but for those that only say "not now".
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Tells the peer that nothing more comes. What it still sends can be read.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn shut_down_writing(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// Whether the connection is there; an error if it failed.
    ///
    /// # Errors
    /// Why the peer could not be reached.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The peer's address.
    ///
    /// # Errors
    /// If the socket is not connected any more.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }
}

impl Source for Stream {
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
