//! The interface of a layer, and the layers of one connection, one on top of the other.

use std::fmt;
use std::io;

use super::handshake_error::{HandshakeError, LayerKind};
#[cfg(feature = "tls")]
use crate::tls::PeerIdentity;

/// The maximum number of bytes of answers that wait for the socket. A peer that sends pings and reads no answer would
/// otherwise fill the memory.
const MAXIMUM_ANSWERS: usize = 256 * 1024;

/// A protocol between the socket and MQTT. "Below" is towards the socket, "above" towards MQTT.
pub(crate) trait Layer: fmt::Debug + Send {
    /// Returns the protocol of the layer.
    fn kind(&self) -> LayerKind;

    /// Appends the first bytes of the handshake to `down`. Called once, when the layers below are open.
    fn start(&mut self, down: &mut Vec<u8>) -> io::Result<()>;

    /// Handles bytes from below. Decoded bytes are appended to `up` and answers to `down`, even if the layer fails: the
    /// bytes before an error are valid, and an answer explains the error to the peer.
    fn receive(&mut self, bytes: &[u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> io::Result<()>;

    /// Encodes bytes from above and appends them to `down`. The caller must not call this before the layer is open.
    fn send(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> io::Result<()>;

    /// Returns `true` if the handshake is complete.
    fn is_open(&self) -> bool;

    /// Returns the identity of the peer, if the peer has shown a certificate in this layer.
    #[cfg(feature = "tls")]
    fn peer_identity(&self) -> Option<PeerIdentity> {
        None
    }

    /// Returns a warning if the certificate of the peer is of a kind that other programs reject.
    fn peer_warning(&self) -> Option<String> {
        None
    }

    /// Returns `true` once the peer has announced in this layer that it sends nothing more, such as with a Close
    /// frame of WebSocket. The socket may still be open.
    fn has_ended(&self) -> bool {
        false
    }

    /// Appends the good-bye of the layer to `down`. Nothing is sent after it.
    fn close(&mut self, down: &mut Vec<u8>);

    /// Handles the end of the bytes from below.
    ///
    /// # Errors
    /// If the peer must have sent more, so that the connection may have been cut off.
    fn end(&mut self) -> io::Result<()>;
}

/// The layers on one socket, lowest first. They do no I/O: the caller passes bytes from the socket to
/// [`Layers::receive`] and writes the bytes of [`Layers::output`].
#[derive(Debug)]
pub struct Layers {
    layers: Vec<Box<dyn Layer>>,
    /// The number of layers whose handshake has begun.
    started: usize,
    /// Decoded bytes for the reader.
    up: Vec<u8>,
    /// The number of bytes of `up` that the reader has taken.
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

    /// Returns `true` if there is no layer.
    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Starts each layer below which all layers are open. The caller must call this function first.
    ///
    /// # Errors
    /// If a layer fails.
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

    /// Adds the layer that was shaking hands to an error of the socket. An error of a layer is returned unchanged.
    pub(crate) fn explained(&self, error: io::Error) -> io::Error {
        match self.layers.iter().find(|layer| !layer.is_open()) {
            Some(layer) if error.get_ref().is_none() => {
                io::Error::new(error.kind(), HandshakeError::new(layer.kind(), error))
            }
            _ => error,
        }
    }

    /// Returns the identity of a peer that has a certificate.
    #[cfg(feature = "tls")]
    pub fn peer_identity(&self) -> Option<PeerIdentity> {
        self.layers.iter().find_map(|layer| layer.peer_identity())
    }

    /// Returns a warning if the certificate of the peer is of a kind that other programs reject.
    pub fn peer_warning(&self) -> Option<String> {
        self.layers.iter().find_map(|layer| layer.peer_warning())
    }

    /// Handles bytes from the socket.
    ///
    /// # Errors
    /// If a layer rejects the bytes, or the peer reads none of the answers. The connection has ended then, and the output
    /// may hold an alert that tells the peer why.
    pub fn receive(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The caller reads even if the socket accepts no writes, so the limit must be checked here.
        if self.down.len() > MAXIMUM_ANSWERS {
            let text = "the peer does not read the answers to its requests";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if self.has_ended() {
            return Ok(()); // bytes after the end have no meaning and must not fill the memory
        }
        self.receive_at(0, bytes)
    }

    /// Encodes bytes for the peer. The caller must not call this before all layers are open.
    ///
    /// # Errors
    /// If a layer fails.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_below(self.layers.len(), bytes.to_vec())
    }

    /// Moves decoded bytes into `buffer`. Returns their number.
    pub fn take(&mut self, buffer: &mut [u8]) -> usize {
        let rest = self.up.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(target), Some(source)) = (buffer.get_mut(..count), rest.get(..count)) {
            target.copy_from_slice(source);
        }
        self.taken += count;
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

    /// Removes bytes from the output that were written.
    pub fn consume_output(&mut self, count: usize) {
        self.down.drain(..count.min(self.down.len()));
    }

    /// Appends the good-byes of all layers to the output. Nothing is sent after them.
    ///
    /// # Errors
    /// If a layer fails.
    pub fn close(&mut self) -> io::Result<()> {
        // The upper layers first, as their good-byes are encoded by the lower ones.
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
    /// If the peer must have sent more.
    pub fn end(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Ok(());
        }
        self.layers.iter_mut().try_for_each(|layer| layer.end())
    }

    /// Returns `true` if the layers decode nothing more: the socket has ended, or the peer has said good-bye in a layer.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended || self.layers.iter().any(|layer| layer.has_ended())
    }

    fn is_open_below(&self, index: usize) -> bool {
        let mut below = self.layers.iter().take(index);
        index < self.layers.len() && below.all(|layer| layer.is_open())
    }

    fn receive_at(&mut self, index: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(layer) = self.layers.get_mut(index) else {
            self.up.extend_from_slice(bytes);
            return Ok(());
        };
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let result = layer.receive(bytes, &mut up, &mut down);
        self.send_below(index, down)?;
        // These bytes may have completed the handshake, so that the layer above can begin.
        self.start()?;
        if !up.is_empty() {
            self.receive_at(index + 1, &up)?;
        }
        result // reported last, so that the bytes before the error are not lost
    }

    /// Encodes bytes in the layers below `index` and appends them to the output.
    fn send_below(&mut self, index: usize, mut bytes: Vec<u8>) -> io::Result<()> {
        for layer in self.layers.iter_mut().take(index).rev() {
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
