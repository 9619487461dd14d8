//! A connected socket and the layers on it. All bytes to and from a peer pass here.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::layer::Layers;
use crate::socket::Socket;
#[cfg(feature = "tls")]
use crate::tls::PeerIdentity;

/// The number of bytes that go through the layers at a time.
const CHUNK: usize = 16 * 1024;

/// Maximum number of reads from the socket in one call of [`Stream::read`]. Layers may turn any number of bytes into
/// none (empty frames, pings, records without data), and the caller has other peers and deadlines to look after.
const READS_PER_CALL: usize = 4;

/// Maximum number of bytes that one call of [`Stream::open`] reads. No handshake needs as many.
const MAXIMUM_HANDSHAKE: usize = 1024 * 1024;

/// The number of writes to a server that are a dialogue: handshakes, CONNECT, SUBSCRIBE, the first messages. Each waits for
/// the answer to the one before. Later the system may delay TCP acknowledgements until it sends data.
const DIALOGUE: u8 = 8;

/// The number of encoded bytes that wait for the socket at which [`Stream::write`] accepts no more. Bytes that wait with
/// the caller count as unsent, so that the caller sees how fast they leave; bytes in the layers would hide that.
const MAXIMUM_DOWN: usize = CHUNK;

/// A byte stream to the peer. Non-blocking; a mio [`Source`].
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// The layers; `None` for plain MQTT, which then costs nothing more.
    layers: Option<Box<Layers>>,
    /// The number of further writes whose answers the system must acknowledge immediately.
    hurried_writes: u8,
    /// The error of the layers, until the caller has read the bytes that came before it.
    failure: Option<io::Error>,
    /// Set once the layers have failed: they pass no more bytes.
    has_failed: bool,
    /// Set once the writing side is shut down: bytes that still arrive are read from the socket and discarded.
    is_discarding: bool,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// The peer has closed its side.
    Closed,
    /// The socket has no more bytes now; the system reports readiness when it has.
    Drained,
    /// The socket may have more bytes, even if this call returned none: it may have spent its budget. The caller must
    /// read again in its next turn, without waiting for readiness.
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

    /// Connects to the Unix socket at `path` and registers the stream for reading and writing.
    ///
    /// # Errors
    /// If nobody listens at the path, or the user has no permission.
    #[cfg(unix)]
    pub fn connect_unix(path: &Path, registry: &Registry, token: Token) -> io::Result<Self> {
        let socket = mio::net::UnixStream::connect(path)?;
        let mut stream = Self::new(Socket::Unix(socket));
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    /// Marks the peer as a server: the connection begins with a dialogue, and the system holds few unsent bytes. The
    /// answer to a PINGREQ takes as long as the bytes before it, so the client must see how fast they leave.
    pub(crate) fn with_server(self) -> Self {
        self.socket.limit_unsent();
        Self {
            hurried_writes: DIALOGUE,
            ..self
        }
    }

    /// Puts these layers on the socket.
    pub fn with_layers(self, layers: Layers) -> Self {
        let layers = (!layers.is_empty()).then(|| Box::new(layers));
        Self { layers, ..self }
    }

    /// Continues the handshakes of the layers as far as possible without waiting. Returns `true` if all are complete. The
    /// caller must call this function on each readiness until then.
    ///
    /// # Errors
    /// If a handshake failed, or the peer closed the connection before its end.
    pub fn open(&mut self) -> io::Result<bool> {
        // The bound keeps a peer that sends endless handshake bytes from holding the event loop.
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
                // The handshake may be complete now; the next round flushes and returns.
                Ok(ReadStatus::More | ReadStatus::Drained) if self.is_open() => {}
                Ok(ReadStatus::More) => {}
                Ok(ReadStatus::Drained) => return Ok(false),
                Ok(ReadStatus::Closed) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) => {
                    let _ = self.flush(); // the alert that tells the peer why
                    return Err(error);
                }
            }
        }
        let text = "the peer sent too much data in the handshake";
        Err(io::Error::new(ErrorKind::InvalidData, text))
    }

    /// Adds the layer that was shaking hands to an error of [`Stream::open`] or to a timeout.
    pub fn explained(&self, error: io::Error) -> io::Error {
        match &self.layers {
            Some(layers) => layers.explained(error),
            None => error,
        }
    }

    /// Reads into `buffer`, which must not be empty. Returns the number of bytes. With layers on the stream one call reads
    /// at most 64 KiB from the socket, and may return 0 bytes with [`ReadStatus::More`].
    ///
    /// # Errors
    /// Errors of the socket, except `WouldBlock` and `Interrupted`, and errors of the layers.
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
            // Bytes that are decoded already come first, so that the layers never hold more than one read brings.
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
                    let _ = self.flush(); // the alert that tells the peer why
                    // The bytes before the error are returned first: they may hold a DISCONNECT that explains it.
                    self.failure = Some(error);
                    self.has_failed = true;
                }
            }
        }
        // The budget is spent. The last read may have brought bytes.
        let count = self.layers.as_mut().map_or(0, |layers| layers.take(buffer));
        Ok((count, ReadStatus::More))
    }

    /// Writes the encoded bytes that wait, and as much of `bytes` as the socket accepts now. Returns the number of bytes
    /// that were taken from `bytes`, which may be 0.
    ///
    /// # Errors
    /// Errors of the socket, except `WouldBlock` and `Interrupted`, and errors of the layers.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.layers.is_none() {
            return self.write_socket(bytes);
        }
        self.flush()?;
        if self.has_ended() {
            // The peer accepts nothing more. Its last bytes may still be unread, so this is not an error.
            return Ok(bytes.len());
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

    /// Returns the number of encoded bytes that wait for the socket.
    pub fn unsent(&self) -> usize {
        self.layers
            .as_ref()
            .map_or(0, |layers| layers.output().len())
    }

    /// Writes the encoded bytes that wait, as far as the socket accepts them.
    ///
    /// # Errors
    /// Errors of the socket.
    pub fn flush(&mut self) -> io::Result<()> {
        // Taken out, as writing borrows the whole stream.
        let Some(mut layers) = self.layers.take() else {
            return Ok(());
        };
        let result = if layers.output().is_empty() {
            Ok(0)
        } else {
            self.write_socket(layers.output())
        };
        if let Ok(count) = result {
            layers.consume_output(count);
        }
        self.layers = Some(layers);
        result.map(drop)
    }

    /// Ends the writing side. Bytes that the peer still sends can be read; with layers on the stream they are discarded,
    /// and [`Stream::read`] only returns the status.
    ///
    /// # Errors
    /// If the connection is lost already.
    pub fn shut_down_writing(&mut self) -> io::Result<()> {
        self.is_discarding = true;
        self.say_goodbye()?;
        self.socket.shut_down_writing()
    }

    /// Sends the good-bye of the layers (`close_notify` of TLS, Close of WebSocket), which shows the peer that nothing was
    /// cut off.
    ///
    /// # Errors
    /// If the connection is lost already.
    pub fn say_goodbye(&mut self) -> io::Result<()> {
        // Layers that have failed have sent an alert already.
        if let Some(layers) = self.layers.as_mut().filter(|_| !self.has_failed) {
            layers.close()?;
        }
        self.flush()
    }

    /// Returns `true` if the socket is connected, `false` if it is being connected.
    ///
    /// # Errors
    /// If the peer could not be reached.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        self.socket.is_connected()
    }

    /// Returns the identity of a peer whose certificate was verified.
    #[cfg(feature = "tls")]
    pub fn peer_identity(&self) -> Option<PeerIdentity> {
        self.layers.as_ref()?.peer_identity()
    }

    /// Returns a warning if the certificate of the peer is of a kind that other programs reject.
    pub fn peer_warning(&self) -> Option<String> {
        self.layers.as_ref()?.peer_warning()
    }

    /// Returns `true` if the handshakes of all layers are complete.
    pub fn is_open(&self) -> bool {
        self.layers.as_ref().is_none_or(|layers| layers.is_open())
    }

    /// Returns `true` if the layers have ended the connection: the peer has said good-bye in one of them, or one has failed.
    /// The socket may still be open; only the last answers of the layers are written to it.
    pub fn has_ended(&self) -> bool {
        let layers = self.layers.as_ref();
        self.has_failed || layers.is_some_and(|layers| layers.has_ended())
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    /// If the socket is no longer connected, or is a Unix socket.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.socket.peer_address()
    }

    /// Reads once from the socket and drops the bytes.
    fn discard(&mut self) -> io::Result<(usize, ReadStatus)> {
        let (_, status) = self.read_socket(&mut [0; CHUNK])?;
        Ok((0, status))
    }

    /// Reads once from the socket and passes the bytes to the layers.
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

    /// Reads until `buffer` is full or the socket is empty. A short read does not mean that it is empty: some systems
    /// report readiness again only after `WouldBlock`.
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
        // The system forgets the option after a while, so it is set again after each write of the dialogue.
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
