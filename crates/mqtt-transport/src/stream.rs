//! A connected socket, and the layers on it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::layer::Layers;
use crate::socket::Socket;
use crate::tls::PeerIdentity;

/// What goes into the layers at a time.
const CHUNK: usize = 16 * 1024;

/// Maximum number of reads from the socket in one call of [`Stream::read`]. Layers may turn any number of bytes into
/// none (empty frames, pings, records without data), and the caller has other peers and deadlines to look after.
const READS_PER_CALL: usize = 4;

/// Maximum number of bytes that one call of [`Stream::open`] reads. No handshake needs as many.
const MAXIMUM_HANDSHAKE: usize = 1024 * 1024;

/// Writes to a server that count as the beginning: handshakes, CONNECT, SUBSCRIBE, the first messages. Later
/// acknowledgements may go with what is sent anyway.
const DIALOGUE: u8 = 8;

/// While so much waits below the layers no more is taken: the owner of the stream sees how fast bytes leave only as long
/// as they wait above.
const MAXIMUM_DOWN: usize = CHUNK;

/// A byte stream to the peer. Non-blocking; a mio [`Source`].
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// TLS and the like; none for plain bytes, which then cost nothing more.
    layers: Option<Box<Layers>>,
    /// Of how many more writes the answers are acknowledged at once.
    hurried_writes: u8,
    /// Why the layers cannot go on, while what came before is still being read.
    failure: Option<io::Error>,
    /// The layers have failed: nothing passes them any more.
    has_failed: bool,
    /// The writing side is shut down: bytes that still come are read from the socket and discarded.
    is_discarding: bool,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// The peer has closed its side.
    Closed,
    /// Nothing more is there now; readiness will tell when there is.
    Drained,
    /// There may be more, even if no byte came: the budget of the call may be used up. The caller reads again in its
    /// next turn.
    More,
}

impl Stream {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            layers: None,
            hurried_writes: 0,
            failure: None,
            has_failed: false,
            is_discarding: false,
        }
    }

    /// A stream to whoever listens at this path, registered for reading and writing.
    ///
    /// # Errors
    /// If nobody does, or it is not allowed.
    #[cfg(unix)]
    pub fn connect_unix(path: &Path, registry: &Registry, token: Token) -> io::Result<Self> {
        let socket = mio::net::UnixStream::connect(path)?;
        let mut stream = Self::new(Socket::Unix(socket));
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    /// One to a server, which begins as a dialogue. The system holds few unsent bytes for it, so that its owner sees how
    /// fast they leave: the answer to a ping behind them takes as much longer.
    pub(crate) fn with_server(self) -> Self {
        self.socket.limit_unsent();
        Self {
            hurried_writes: DIALOGUE,
            ..self
        }
    }

    /// With these layers.
    pub fn with_layers(self, layers: Layers) -> Self {
        let layers = (!layers.is_empty()).then(|| Box::new(layers));
        Self { layers, ..self }
    }

    /// Goes on with the handshakes of the layers, as far as possible without waiting; says whether bytes
    /// pass. To be called on each readiness until they do.
    ///
    /// # Errors
    /// Why a handshake failed, or that the peer closed before its end.
    pub fn open(&mut self) -> io::Result<bool> {
        for _ in 0..MAXIMUM_HANDSHAKE / CHUNK {
            let Some(layers) = &mut self.layers else {
                return Ok(true);
            };
            layers.start()?;
            if layers.is_open() {
                self.flush()?;
                return Ok(true);
            }
            self.flush()?;
            match self.receive() {
                // What came may have been the last of it.
                Ok(ReadStatus::More | ReadStatus::Drained) if self.is_open() => {}
                Ok(ReadStatus::More) => {}
                Ok(ReadStatus::Drained) => return Ok(false),
                Ok(ReadStatus::Closed) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) => {
                    let _ = self.flush(); // why, for the peer
                    return Err(error);
                }
            }
        }
        let text = "the handshake of the peer is too long";
        Err(io::Error::new(ErrorKind::InvalidData, text))
    }

    /// Returns an error of [`Stream::open`], or a timeout, with the layer that was shaking hands.
    pub fn explained(&self, error: io::Error) -> io::Error {
        match &self.layers {
            Some(layers) => layers.explained(error),
            None => error,
        }
    }

    /// Reads into `buffer`, which is not empty; returns how many bytes came. With layers on the stream one call reads
    /// at most 64 KiB from the socket, and may return 0 bytes with [`ReadStatus::More`].
    ///
    /// # Errors
    /// Those of the socket, but for those that only say "not now"; those of the layers.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, ReadStatus)> {
        if self.layers.is_none() {
            return self.read_socket(buffer);
        }
        if self.is_discarding {
            return self.discard();
        }
        for _ in 0..READS_PER_CALL {
            let Some(layers) = &mut self.layers else {
                return Ok((0, ReadStatus::Closed));
            };
            match layers.take(buffer) {
                0 => {}
                count => return Ok((count, ReadStatus::More)),
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if layers.has_ended() {
                return Ok((0, ReadStatus::Closed));
            }
            match self.receive() {
                Ok(ReadStatus::More | ReadStatus::Closed) => {}
                Ok(ReadStatus::Drained) => {
                    let count = self.layers.as_mut().map_or(0, |layers| layers.take(buffer));
                    let status = match count {
                        0 if self.has_ended() => ReadStatus::Closed,
                        0 => ReadStatus::Drained,
                        _ => ReadStatus::More,
                    };
                    return Ok((count, status));
                }
                Err(error) => {
                    let _ = self.flush(); // why, for the peer
                    self.failure = Some(error);
                    self.has_failed = true;
                }
            }
        }
        // What the last read brought is there already.
        let count = self.layers.as_mut().map_or(0, |layers| layers.take(buffer));
        Ok((count, ReadStatus::More))
    }

    /// Writes as much of `bytes` as can be taken now, perhaps nothing; also what waits below.
    ///
    /// # Errors
    /// Those of the socket, but for those that only say "not now"; those of the layers.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.layers.is_none() {
            return self.write_socket(bytes);
        }
        self.flush()?;
        if self.has_ended() {
            return Ok(bytes.len()); // the peer takes nothing more
        }
        let mut written = 0;
        while let Some(layers) = &mut self.layers {
            let rest = bytes.get(written..).unwrap_or_default();
            let chunk = rest.get(..CHUNK.min(rest.len())).unwrap_or_default();
            if chunk.is_empty() || !layers.is_open() || layers.output().len() >= MAXIMUM_DOWN {
                break;
            }
            layers.send(chunk)?;
            written += chunk.len();
            self.flush()?;
        }
        Ok(written)
    }

    /// Bytes that were taken and are not with the system yet.
    pub fn unsent(&self) -> usize {
        self.layers
            .as_ref()
            .map_or(0, |layers| layers.output().len())
    }

    /// Writes what waits below, as far as the socket takes it.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(mut layers) = self.layers.take() else {
            return Ok(());
        };
        let result = match layers.output().is_empty() {
            true => Ok(0),
            false => self.write_socket(layers.output()),
        };
        if let Ok(count) = result {
            layers.consume_output(count);
        }
        self.layers = Some(layers);
        result.map(drop)
    }

    /// Tells the peer that nothing more comes. Bytes that it still sends can be read; with layers on the stream they are
    /// discarded, and reading returns only how far it went.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn shut_down_writing(&mut self) -> io::Result<()> {
        self.is_discarding = true;
        self.say_goodbye()?;
        self.socket.shut_down_writing()
    }

    /// The good-bye of the layers, where there are any: the peer knows that nothing was cut off.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn say_goodbye(&mut self) -> io::Result<()> {
        if let Some(layers) = self.layers.as_mut().filter(|_| !self.has_failed) {
            layers.close()?;
        }
        self.flush()
    }

    /// Whether the connection is there; an error if it failed.
    ///
    /// # Errors
    /// Why the peer could not be reached.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        self.socket.is_connected()
    }

    /// Returns the identity of a peer whose certificate was verified.
    pub fn peer_identity(&self) -> Option<PeerIdentity> {
        self.layers.as_ref()?.peer_identity()
    }

    /// Returns a line about the certificate of the peer, if there is something old about it that its user should know.
    pub fn peer_warning(&self) -> Option<String> {
        self.layers.as_ref()?.peer_warning()
    }

    /// Returns `true` if the handshakes of all layers are complete.
    pub fn is_open(&self) -> bool {
        self.layers.as_ref().is_none_or(|layers| layers.is_open())
    }

    /// Returns `true` if the connection is over for a reason of the layers: the peer has said good-bye in one of them, or
    /// one has failed. The socket may be open still; nothing but the last answers of the layers is written to it.
    pub fn has_ended(&self) -> bool {
        let layers = self.layers.as_ref();
        self.has_failed || layers.is_some_and(|layers| layers.has_ended())
    }

    /// The peer's address.
    ///
    /// # Errors
    /// If the socket is not connected any more, or has no such address.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.socket.peer_address()
    }

    /// Reads once from the socket and forgets what came.
    fn discard(&mut self) -> io::Result<(usize, ReadStatus)> {
        let (_, status) = self.read_socket(&mut [0; CHUNK])?;
        Ok((0, status))
    }

    /// Reads once and gives it to the layers.
    fn receive(&mut self) -> io::Result<ReadStatus> {
        let mut block = [0; CHUNK];
        let (count, status) = self.read_socket(&mut block)?;
        let Some(layers) = &mut self.layers else {
            return Ok(status);
        };
        layers.receive(block.get(..count).unwrap_or_default())?;
        if status == ReadStatus::Closed {
            layers.end()?;
        }
        self.flush()?;
        Ok(status)
    }

    /// Reads until `buffer` is full, or until the system says that the socket is empty. A short read does not say that:
    /// some systems report readiness again only after `WouldBlock`.
    fn read_socket(&mut self, buffer: &mut [u8]) -> io::Result<(usize, ReadStatus)> {
        let mut count = 0;
        while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match self.socket.read(rest) {
                Ok(0) if count == 0 => return Ok((0, ReadStatus::Closed)),
                Ok(0) => break, // the next call finds the end again
                Ok(read) => count += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok((count, ReadStatus::Drained));
                }
                Err(error) if count == 0 => return Err(error),
                Err(_) => break, // the bytes come first; the next call finds that the connection is over
            }
        }
        Ok((count, ReadStatus::More))
    }

    fn write_socket(&mut self, bytes: &[u8]) -> io::Result<usize> {
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
        if written > 0 && self.hurried_writes > 0 {
            self.hurried_writes -= 1;
            self.socket.acknowledge_at_once();
        }
        Ok(written)
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn in_the_beginning_answers_of_a_server_are_acknowledged_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let seen = socket.try_clone().unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut client =
            Stream::new(Socket::Tcp(mio::net::TcpStream::from_std(socket))).with_server();
        for _ in 0..DIALOGUE {
            assert_eq!(client.write(b"?").unwrap(), 1);
            server.read_exact(&mut [0]).unwrap();
            // By now the system would leave an acknowledgement to what is sent next.
            assert!(socket2::SockRef::from(&seen).tcp_quickack().unwrap());
            server.write_all(b"!").unwrap();
            client.read(&mut [0]).unwrap();
        }
    }

    /// Without readiness in between, as some systems report the end only after `WouldBlock`.
    #[test]
    fn a_short_read_is_not_taken_for_an_empty_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        peer.write_all(b"abc").unwrap();
        drop(peer);
        // The end is there once a read of another handle finds it.
        let seen = socket.try_clone().unwrap();
        while seen.peek(&mut [0; 4]).unwrap() < 3 {
            std::thread::yield_now();
        }
        socket.set_nonblocking(true).unwrap();
        let mut stream = Stream::new(Socket::Tcp(mio::net::TcpStream::from_std(socket)));
        let mut buffer = [0; 100];
        let mut all = Vec::new();
        let status = loop {
            let (count, status) = stream.read(&mut buffer).unwrap();
            all.extend(&buffer[..count]);
            match status {
                ReadStatus::More => {}
                status => break status,
            }
        };
        assert_eq!((&all[..], status), (&b"abc"[..], ReadStatus::Closed));
    }

    #[test]
    fn one_call_reads_a_bounded_number_of_bytes_that_layers_turn_into_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let room = socket2::SockRef::from(&listener).set_recv_buffer_size(1 << 20);
        room.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let seen = socket.try_clone().unwrap();
        let layers = crate::listener_transport::ListenerTransport::default()
            .with_websocket(Vec::new())
            .layers();
        let stream = Stream::new(Socket::Tcp(mio::net::TcpStream::from_std(socket)));
        let mut server = stream.with_layers(layers.unwrap());
        let request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Protocol: mqtt\r\n\r\n";
        let frames = b"\x82\x80\0\0\0\0".repeat(25_000);
        let sent = [request.as_bytes(), &frames].concat();
        peer.write_all(&sent).unwrap();
        let mut block = vec![0; 1 << 20];
        let mut waiting = || seen.peek(&mut block).unwrap_or(0);
        while waiting() < sent.len() {
            std::thread::yield_now();
        }
        let mut buffer = [0; 100];
        let read = server.read(&mut buffer).unwrap();
        assert_eq!(read, (0, ReadStatus::More));
        assert!(server.is_open());
        assert_eq!(waiting(), sent.len() - READS_PER_CALL * CHUNK);
        while server.read(&mut buffer).unwrap() == (0, ReadStatus::More) {}
        assert_eq!(waiting(), 0);
    }
}
