//! What stands between a socket and MQTT: proxies, TLS, WebSocket. A layer is given bytes and gives
//! bytes; it does no I/O, so layers stack in any order and are tested in memory.
//!
//! ```text
//!  up      MQTT <── WebSocket <── TLS <── SOCKS5 <── socket
//!  down    MQTT ──> WebSocket ──> TLS ──> SOCKS5 ──> socket
//! ```

pub(crate) mod socks5;
pub(crate) mod tls;
pub(crate) mod websocket;

use std::fmt;
use std::io;

/// So many bytes of answers may wait for the socket: to a flood of pings, for one.
const MAXIMUM_ANSWERS: usize = 256 * 1024;

/// Something between the socket and MQTT that changes bytes.
pub(crate) trait Layer: fmt::Debug + Send {
    /// What it says first, when the layers below are open.
    fn start(&mut self, down: &mut Vec<u8>) -> io::Result<()>;

    /// Bytes from below. What is meant for above is appended to `up`, an answer to `down`, also when it
    /// fails.
    fn receive(&mut self, bytes: &[u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> io::Result<()>;

    /// Bytes from above. Only called when it is open.
    fn send(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> io::Result<()>;

    /// Whether bytes pass.
    fn is_open(&self) -> bool;

    /// Nothing more is sent: says good-bye.
    fn close(&mut self, down: &mut Vec<u8>);

    /// Nothing more comes from below. An error if it should have.
    fn end(&mut self) -> io::Result<()>;
}

/// Layers on one socket, the lowest first.
#[derive(Debug)]
pub(crate) struct Layers {
    layers: Vec<Box<dyn Layer>>,
    started: usize,
    /// For the reader.
    up: Vec<u8>,
    taken: usize,
    /// For the socket.
    pub(crate) down: Vec<u8>,
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

    /// Starts the layers whose lower ones are open.
    pub(crate) fn start(&mut self) -> io::Result<()> {
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

    /// Whether bytes pass through all of them.
    pub(crate) fn is_open(&self) -> bool {
        self.layers.iter().all(|layer| layer.is_open())
    }

    /// Bytes from the socket.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.down.len() > MAXIMUM_ANSWERS {
            let text = "the other side asks and asks, and takes no answer";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.receive_at(0, bytes)
    }

    /// Bytes for the peer.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_below(self.layers.len(), bytes.to_vec())
    }

    /// Puts what came through into `buffer`; says how much.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> usize {
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

    /// Nothing more is sent.
    pub(crate) fn close(&mut self) -> io::Result<()> {
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
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Ok(());
        }
        self.layers.iter_mut().try_for_each(|layer| layer.end())
    }

    /// Whether the socket has nothing more.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
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
        result?;
        self.start()?;
        match up.is_empty() {
            true => Ok(()),
            false => self.receive_at(index + 1, &up),
        }
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
