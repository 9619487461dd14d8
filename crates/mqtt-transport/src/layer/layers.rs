//! [`Layer`] is the interface of a layer. [`Layers`] is the stack of layers on one connection.

use std::fmt;
use std::io;

use super::handshake_error::{HandshakeError, LayerKind};
#[cfg(feature = "tls")]
use crate::tls::PeerIdentity;

/// Maximum number of bytes of answers that wait for the socket. Without a limit, a peer that sends pings and does not
/// read the answers would fill the memory.
const MAXIMUM_ANSWERS: usize = 256 * 1024;

/// Protocol between the socket and MQTT. "Below" means towards the socket, and "above" means towards MQTT.
pub(crate) trait Layer: fmt::Debug + Send {
    /// Returns the protocol of the layer.
    fn kind(&self) -> LayerKind;

    /// Appends the first bytes of the handshake to `down`. [`Layers`] calls this method once, when the layers below are
    /// open.
    fn start(&mut self, down: &mut Vec<u8>) -> io::Result<()>;

    /// Handles bytes from below. Decoded bytes are appended to `up`, and answers to `down`, even if the layer then
    /// returns an error: the bytes before the error are valid, and the answer reports the error to the peer.
    fn receive(&mut self, bytes: &[u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> io::Result<()>;

    /// Encodes bytes from above and appends them to `down`. The caller must not call this method before the layer is
    /// open.
    fn send(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> io::Result<()>;

    /// Returns `true` if the handshake is complete.
    fn is_open(&self) -> bool;

    /// Returns the identity of the peer, if the peer has sent a verified certificate in this layer.
    #[cfg(feature = "tls")]
    fn peer_identity(&self) -> Option<PeerIdentity> {
        None
    }

    /// Returns a warning if other programs would reject the certificate of the peer.
    fn peer_warning(&self) -> Option<String> {
        None
    }

    /// Returns `true` if the peer has announced in this layer that it sends no more data, for example with a Close
    /// frame of WebSocket. The socket may still be open.
    fn has_ended(&self) -> bool {
        false
    }

    /// Appends the closing message of the layer to `down`. No other bytes may be sent after it.
    fn close(&mut self, down: &mut Vec<u8>);

    /// Handles the end of the bytes from below.
    ///
    /// # Errors
    /// Returns an error if the data may have been cut off, because the peer should have sent more.
    fn end(&mut self) -> io::Result<()>;
}

/// Layers on one socket, lowest first. They do no I/O: the caller passes bytes from the socket to [`Layers::receive`],
/// and writes the bytes of [`Layers::output`] to the socket.
#[derive(Debug)]
pub struct Layers {
    layers: Vec<Box<dyn Layer>>,
    /// Number of layers whose handshake has started.
    started: usize,
    /// Decoded bytes for the reader.
    up: Vec<u8>,
    /// Number of bytes in `up` that the reader has taken.
    taken: usize,
    /// Encoded bytes for the socket.
    down: Vec<u8>,
    has_ended: bool,
}

impl Layers {
    pub(crate) fn new(layers: Vec<Box<dyn Layer>>) -> Self {
        Self {
            layers,
            started: 0,
            up: Vec::new(),
            taken: 0,
            down: Vec::new(),
            has_ended: false,
        }
    }

    /// Returns `true` if the stack is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Starts the handshake of each layer for which all layers below are open. The caller must call this method first.
    ///
    /// # Errors
    /// Returns an error if a layer fails.
    pub fn start(&mut self) -> io::Result<()> {
        while self.is_open_below(self.started) {
            let index = self.started;
            let Some(layer) = self.layers.get_mut(index) else {
                return Ok(());
            };
            self.started += 1;
            let mut down = Vec::new();
            let result = layer.start(&mut down);
            self.send_below(index, down)?;
            result?;
        }
        Ok(())
    }

    /// Returns `true` if the handshakes of all layers are complete.
    pub fn is_open(&self) -> bool {
        self.layers.iter().all(|layer| layer.is_open())
    }

    /// Adds to an error of the socket the layer whose handshake was in progress. An error of a layer is returned
    /// unchanged.
    pub(crate) fn explained(&self, error: io::Error) -> io::Error {
        match self.layers.iter().find(|layer| !layer.is_open()) {
            // Only an error of a layer contains another error. Such an error already names the cause.
            Some(layer) if error.get_ref().is_none() => {
                io::Error::new(error.kind(), HandshakeError::new(layer.kind(), error))
            }
            _ => error,
        }
    }

    /// Returns the identity of the peer, if the peer has a verified certificate.
    #[cfg(feature = "tls")]
    pub fn peer_identity(&self) -> Option<PeerIdentity> {
        self.layers.iter().find_map(|layer| layer.peer_identity())
    }

    /// Returns a warning if other programs would reject the certificate of the peer.
    pub fn peer_warning(&self) -> Option<String> {
        self.layers.iter().find_map(|layer| layer.peer_warning())
    }

    /// Handles bytes from the socket.
    ///
    /// # Errors
    /// Returns an error if a layer rejects the bytes, or if the peer does not read the answers. The connection has then
    /// ended. The output may contain an alert that reports the error to the peer.
    pub fn receive(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The caller reads even while the socket accepts no bytes, so the limit must be checked here.
        if self.down.len() > MAXIMUM_ANSWERS {
            let text = "the peer does not read the answers to its requests";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if self.has_ended() {
            return Ok(()); // Bytes after the end have no meaning and are not stored.
        }
        self.receive_at(0, bytes)
    }

    /// Encodes bytes for the peer. The caller must not call this method before all layers are open.
    ///
    /// # Errors
    /// Returns an error if a layer fails.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_below(self.layers.len(), bytes.to_vec())
    }

    /// Moves decoded bytes into `buffer`, and returns their number.
    pub fn take(&mut self, buffer: &mut [u8]) -> usize {
        let rest = self.up.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(target), Some(source)) = (buffer.get_mut(..count), rest.get(..count)) {
            target.copy_from_slice(source);
        }
        self.taken += count;
        // The bytes are removed only when all of them were taken. Removing the first bytes in each call would move the
        // rest each time.
        if self.taken == self.up.len() {
            self.up.clear();
            self.taken = 0;
        }
        count
    }

    /// Returns the encoded bytes for the socket.
    pub fn output(&self) -> &[u8] {
        &self.down
    }

    /// Removes `count` bytes from the front of the output after they were written.
    pub fn consume_output(&mut self, count: usize) {
        self.down.drain(..count.min(self.down.len()));
    }

    /// Appends the closing messages of all layers to the output. No other bytes may be sent after them.
    ///
    /// # Errors
    /// Returns an error if a layer fails.
    pub fn close(&mut self) -> io::Result<()> {
        // The upper layers close first, because the lower layers must encode their closing messages.
        for index in (0..self.layers.len()).rev() {
            let mut down = Vec::new();
            if let Some(layer) = self.layers.get_mut(index) {
                layer.close(&mut down);
            }
            self.send_below(index, down)?;
        }
        Ok(())
    }

    /// Handles the end of the bytes from the socket.
    ///
    /// # Errors
    /// Returns an error if the peer should have sent more.
    pub fn end(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Ok(());
        }
        self.layers.iter_mut().try_for_each(|layer| layer.end())
    }

    /// Returns `true` if the layers decode no more bytes: the socket has ended, or the peer has closed a layer.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended || self.layers.iter().any(|layer| layer.has_ended())
    }

    fn is_open_below(&self, index: usize) -> bool {
        let mut below = self.layers.iter().take(index);
        index < self.layers.len() && below.all(|layer| layer.is_open())
    }

    /// Passes bytes from the socket to the layer at `index` and to the layers above it.
    fn receive_at(&mut self, index: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(layer) = self.layers.get_mut(index) else {
            self.up.extend_from_slice(bytes);
            return Ok(());
        };
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let result = layer.receive(bytes, &mut up, &mut down);
        self.send_below(index, down)?;
        // These bytes may have completed the handshake of the layer, so that the layer above can start.
        self.start()?;
        if !up.is_empty() {
            self.receive_at(index + 1, &up)?;
        }
        result // The error is returned last, so that the bytes before it are not lost.
    }

    /// Encodes bytes in the layers below `index`, and appends the result to the output.
    fn send_below(&mut self, index: usize, mut bytes: Vec<u8>) -> io::Result<()> {
        for layer in self.layers.iter_mut().take(index).rev() {
            // An empty write would make the layer produce an empty frame or record.
            if bytes.is_empty() {
                return Ok(());
            }
            let mut down = Vec::new();
            layer.send(&bytes, &mut down)?;
            bytes = down;
        }
        self.down.append(&mut bytes);
        Ok(())
    }
}
