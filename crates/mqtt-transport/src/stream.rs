//! [`Stream`] is a connected socket with its layers. All bytes to and from a peer pass through this file.

mod handshake;
#[cfg(all(test, target_os = "linux"))]
mod tests;

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

/// Number of bytes that pass through the layers at a time.
const CHUNK: usize = 16 * 1024;

/// Maximum number of reads in one call: of the socket for one block of bytes, and of blocks for the layers. Layers may
/// decode many bytes to nothing (empty frames, pings, records without data), and the caller must serve other peers and
/// deadlines in the meantime. A peer that writes as quickly as this end reads would otherwise keep the call busy until the
/// buffer is full.
const READS_PER_CALL: usize = 4;

/// Number of writes to a server that are part of a dialogue: handshakes, CONNECT, SUBSCRIBE, the first messages. In a
/// dialogue each write waits for the answer to the previous one, so TCP acknowledgements must not be delayed.
const DIALOGUE: u8 = 8;

/// Number of encoded bytes waiting for the socket at which [`Stream::write`] accepts no more bytes. The caller measures
/// how fast its own unwritten bytes leave. Bytes that wait in the layers would be invisible to it.
const MAXIMUM_DOWN: usize = CHUNK;

/// Non-blocking byte stream to the peer. A stream can be registered with mio as a [`Source`].
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// The layers, or `None` for plain MQTT, which then costs no copy.
    layers: Option<Box<Layers>>,
    /// Number of further writes after which the operating system must acknowledge the answer immediately.
    hurried_writes: u8,
    /// Error of the layers. It is stored until the caller has read the bytes that were decoded before it.
    failure: Option<io::Error>,
    /// Set when the layers have failed. They decode no more bytes.
    has_failed: bool,
    /// Set when the writing side has been shut down. Bytes that still arrive are read from the socket and discarded.
    is_discarding: bool,
}

/// Result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// The peer has closed its sending side.
    Closed,
    /// The socket has no more bytes now. The operating system reports readiness when more bytes arrive.
    Drained,
    /// The socket may have more bytes, even if this call returned none because of its limit of reads. The caller must
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
    /// Returns an error if no program listens at the path, or without permission.
    #[cfg(unix)]
    pub fn connect_unix(path: &Path, registry: &Registry, token: Token) -> io::Result<Self> {
        let socket = mio::net::UnixStream::connect(path)?;
        let mut stream = Self::new(Socket::Unix(socket));
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    /// Marks the peer as a server. The connection then begins with a dialogue, and the operating system buffers few
    /// unsent bytes. A PINGREQ leaves only after the bytes before it, so the client must be able to measure how fast
    /// bytes leave.
    pub(crate) fn with_server(self) -> Self {
        self.socket.limit_unsent();
        Self {
            hurried_writes: DIALOGUE,
            ..self
        }
    }

    /// Adds these layers to the socket.
    pub fn with_layers(self, layers: Layers) -> Self {
        let layers = (!layers.is_empty()).then(|| Box::new(layers));
        Self { layers, ..self }
    }

    /// Reads into `buffer`, which must not be empty. Returns the number of bytes. One call makes a limited number of
    /// reads, and may return 0 bytes with [`ReadStatus::More`]. With layers it reads at most 64 KiB from the socket.
    ///
    /// # Errors
    /// Returns errors of the socket except `WouldBlock` and `Interrupted`, and errors of the layers.
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
            // Decoded bytes are returned before the next read, so that the layers never contain more than one read
            // produces.
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
                Ok((_, ReadStatus::More | ReadStatus::Closed)) => {}
                Ok((_, ReadStatus::Drained)) => {
                    let count = self.layers.as_mut().map_or(0, |layers| layers.take(buffer));
                    let status = match count {
                        0 if self.has_ended() => ReadStatus::Closed,
                        0 => ReadStatus::Drained,
                        _ => ReadStatus::More,
                    };
                    return Ok((count, status));
                }
                Err(error) => {
                    let _ = self.flush(); // The output may contain an alert with the reason.
                    // The bytes before the error are returned first. They may contain a DISCONNECT that gives the
                    // reason.
                    self.failure = Some(error);
                    self.has_failed = true;
                }
            }
        }
        // The limit of reads is reached. The last read may have produced bytes.
        let count = self.layers.as_mut().map_or(0, |layers| layers.take(buffer));
        Ok((count, ReadStatus::More))
    }

    /// Writes the encoded bytes that wait, and as many of `bytes` as the socket accepts now. Returns the number of
    /// bytes that were accepted, which may be 0.
    ///
    /// # Errors
    /// Returns errors of the socket except `WouldBlock` and `Interrupted`, and errors of the layers.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.layers.is_none() {
            return self.write_socket(bytes);
        }
        self.flush()?;
        if self.has_ended() {
            // The peer accepts no more bytes. This is not an error yet, because the last bytes of the peer may still be
            // unread.
            return Ok(bytes.len());
        }
        let mut written = 0;
        while let Some(layers) = &mut self.layers {
            // Each chunk is written before the next one is encoded, so that a blocked socket does not make the layers
            // encode all bytes into memory.
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

    /// Writes as many of the waiting encoded bytes as the socket accepts.
    ///
    /// # Errors
    /// Returns errors of the socket.
    pub fn flush(&mut self) -> io::Result<()> {
        // The layers are moved out during the write, because `write_socket` borrows the whole stream.
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

    /// Returns `true` if the socket is connected, and `false` if the attempt is in progress.
    ///
    /// # Errors
    /// Returns an error if the connection attempt has failed.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        self.socket.is_connected()
    }

    /// Returns the identity of the peer, if the peer has a verified certificate.
    #[cfg(feature = "tls")]
    pub fn peer_identity(&self) -> Option<PeerIdentity> {
        self.layers.as_ref()?.peer_identity()
    }

    /// Returns a warning if other programs would reject the certificate of the peer.
    pub fn peer_warning(&self) -> Option<String> {
        self.layers.as_ref()?.peer_warning()
    }

    /// Returns `true` if the handshakes of all layers are complete.
    pub fn is_open(&self) -> bool {
        self.layers.as_ref().is_none_or(|layers| layers.is_open())
    }

    /// Returns `true` if the layers have ended the connection, because the peer has sent a closing message in one of
    /// them, or because one has failed. The socket may still be open, but only the last answers of the layers are
    /// written.
    pub fn has_ended(&self) -> bool {
        let layers = self.layers.as_ref();
        self.has_failed || layers.is_some_and(|layers| layers.has_ended())
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    /// Returns an error if the socket is no longer connected, or is a Unix socket.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.socket.peer_address()
    }

    /// Reads a block of bytes from the socket and passes it to the layers. Returns the number of bytes.
    fn receive(&mut self) -> io::Result<(usize, ReadStatus)> {
        let mut block = [0; CHUNK];
        let (count, status) = self.read_socket(&mut block)?;
        let Some(layers) = &mut self.layers else {
            return Ok((count, status));
        };
        layers.receive(block.get(..count).unwrap_or_default())?;
        if status == ReadStatus::Closed {
            layers.end()?;
        }
        self.flush()?;
        Ok((count, status))
    }

    fn read_socket(&mut self, buffer: &mut [u8]) -> io::Result<(usize, ReadStatus)> {
        read_some(|rest| self.socket.read(rest), buffer)
    }

    /// Writes as many of `bytes` as the socket accepts, and returns their number.
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
        // The operating system resets the option after a while, so each write of the dialogue sets it again.
        if written > 0 && self.hurried_writes > 0 {
            self.hurried_writes -= 1;
            self.socket.acknowledge_at_once();
        }
        Ok(written)
    }
}

/// Reads until `buffer` is full, the socket is empty, or [`READS_PER_CALL`] is reached. A short read is not enough to
/// assume an empty socket: some systems report readiness again only after `WouldBlock`.
///
/// On Linux the last read could be saved. It also finds the packets that have arrived during the reads before, and a
/// client that publishes with QoS 1 or 2 to mosquitto then sleeps a third less often, which saves more.
fn read_some(
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    buffer: &mut [u8],
) -> io::Result<(usize, ReadStatus)> {
    let mut count = 0;
    for _ in 0..READS_PER_CALL {
        let rest = buffer.get_mut(count..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        match read(rest) {
            Ok(0) if count == 0 => return Ok((0, ReadStatus::Closed)),
            Ok(0) => break, // The next call reports the end.
            Ok(read) => count += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Ok((count, ReadStatus::Drained));
            }
            Err(error) if count == 0 => return Err(error),
            Err(_) => break, // The bytes are returned first. The next call reports the error.
        }
    }
    Ok((count, ReadStatus::More))
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
