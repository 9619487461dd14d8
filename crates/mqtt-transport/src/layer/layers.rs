//! The interface of a layer, and the layers of one connection, one on top of the other.

use std::fmt;
use std::io;

use super::handshake_error::{HandshakeError, LayerKind};
use crate::tls::PeerIdentity;

/// So many bytes of answers may wait for the socket: to a flood of pings, for one.
const MAXIMUM_ANSWERS: usize = 256 * 1024;

/// Something between the socket and MQTT that changes bytes.
pub(crate) trait Layer: fmt::Debug + Send {
    /// Returns what it speaks.
    fn kind(&self) -> LayerKind;

    /// What it says first, when the layers below are open.
    fn start(&mut self, down: &mut Vec<u8>) -> io::Result<()>;

    /// Bytes from below. What is meant for above is appended to `up`, an answer to `down`, also when it
    /// fails.
    fn receive(&mut self, bytes: &[u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> io::Result<()>;

    /// Bytes from above. Only called when it is open.
    fn send(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> io::Result<()>;

    /// Whether bytes pass.
    fn is_open(&self) -> bool;

    /// Who the peer is, if this layer has seen a certificate of it.
    fn peer_identity(&self) -> Option<PeerIdentity> {
        None
    }

    /// Returns a line about the certificate of the peer, if there is something old about it.
    fn peer_warning(&self) -> Option<String> {
        None
    }

    /// Returns `true` once the peer has announced in this layer that it sends nothing more, such as with a Close
    /// frame of WebSocket. Its socket may be open still.
    fn has_ended(&self) -> bool {
        false
    }

    /// Nothing more is sent: says good-bye.
    fn close(&mut self, down: &mut Vec<u8>);

    /// Nothing more comes from below. An error if it should have.
    fn end(&mut self) -> io::Result<()>;
}

/// Layers on one socket, the lowest first. No I/O: what comes from the socket is given to
/// [`Layers::receive`], what is for it is in [`Layers::output`].
#[derive(Debug)]
pub struct Layers {
    layers: Vec<Box<dyn Layer>>,
    started: usize,
    /// For the reader.
    up: Vec<u8>,
    taken: usize,
    /// For the socket.
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

    /// Whether there is none: bytes stay as they are.
    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Starts the layers whose lower ones are open. To be called first.
    ///
    /// # Errors
    /// If a layer cannot go on.
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

    /// Returns an error of the socket with the layer that was shaking hands. An error of a layer stays as it is.
    pub(crate) fn explained(&self, error: io::Error) -> io::Error {
        match self.layers.iter().find(|layer| !layer.is_open()) {
            Some(layer) if error.get_ref().is_none() => {
                io::Error::new(error.kind(), HandshakeError::new(layer.kind(), error))
            }
            _ => error,
        }
    }

    /// Returns the identity of a peer that has a certificate.
    pub fn peer_identity(&self) -> Option<PeerIdentity> {
        self.layers.iter().find_map(|layer| layer.peer_identity())
    }

    /// Returns a line about the certificate of the peer, if there is something old about it that its user should know.
    pub fn peer_warning(&self) -> Option<String> {
        self.layers.iter().find_map(|layer| layer.peer_warning())
    }

    /// Bytes from the socket.
    ///
    /// # Errors
    /// If they are wrong, or the peer takes none of the answers. The connection is over then; why may be
    /// in the output.
    pub fn receive(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.down.len() > MAXIMUM_ANSWERS {
            let text = "the peer keeps asking and reads no answer";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if self.has_ended() {
            return Ok(()); // bytes after the end mean nothing, and must not gather
        }
        self.receive_at(0, bytes)
    }

    /// Bytes for the peer; only when all layers are open.
    ///
    /// # Errors
    /// If a layer cannot go on.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_below(self.layers.len(), bytes.to_vec())
    }

    /// Puts what came through into `buffer`; says how much.
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

    /// Bytes for the socket.
    pub fn output(&self) -> &[u8] {
        &self.down
    }

    /// Removes bytes from the output that were written.
    pub fn consume_output(&mut self, count: usize) {
        self.down.drain(..count.min(self.down.len()));
    }

    /// Nothing more is sent.
    ///
    /// # Errors
    /// If a layer cannot go on.
    pub fn close(&mut self) -> io::Result<()> {
        for index in (0..self.layers.len()).rev() {
            let mut down = Vec::new();
            if let Some(layer) = self.layers.get_mut(index) {
                layer.close(&mut down);
            }
            self.send_below(index, down)?;
        }
        Ok(())
    }

    /// The socket has nothing more.
    ///
    /// # Errors
    /// If that is too early.
    pub fn end(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Ok(());
        }
        self.layers.iter_mut().try_for_each(|layer| layer.end())
    }

    /// Returns `true` if nothing more can come up: the socket has ended, or the peer has said good-bye in a layer.
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
        self.start()?;
        if !up.is_empty() {
            self.receive_at(index + 1, &up)?;
        }
        result // what came before is not lost with it
    }

    /// Through the layers below this one.
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
