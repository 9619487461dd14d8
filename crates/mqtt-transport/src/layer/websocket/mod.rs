//! WebSocket (RFC 6455) as a layer, for clients and servers. MQTT is sent in binary messages, whose boundaries have no
//! meaning [MQTT-6.0.0-2]. This file handles frames. `handshake.rs` handles the HTTP request and response before them,
//! and `frame.rs` the header of a frame.

mod error;
mod frame;
mod handshake;

use std::io;

use super::handshake_error::LayerKind;
use super::layers::Layer;
pub use error::WebSocketError;
use error::{GOING_AWAY, NORMAL_CLOSURE};
use frame::{FrameHeader, Opcode};
use handshake::{Request, accept_request, accept_response};

/// Maximum payload of a control frame in bytes (RFC 6455, section 5.5).
const MAXIMUM_CONTROL: u64 = 125;

/// Maximum size of the HTTP request or response in bytes.
const MAXIMUM_HEAD: usize = 8 * 1024;

/// Packs bytes into WebSocket frames and unpacks them, at a client or at a server, after the handshake over HTTP.
#[derive(Debug)]
pub(crate) struct WebSocketLayer {
    end: End,
    phase: Phase,
    /// Received bytes that have not been handled: an incomplete HTTP head or frame header.
    input: Vec<u8>,
    /// Frame whose payload is arriving.
    frame: Option<IncomingFrame>,
    /// Set when the first frame of a message has arrived, and cleared when the last one has.
    message_is_open: bool,
    /// Set when this end has sent a Close frame.
    has_said_goodbye: bool,
}

/// Role of this end, with the data that its handshake needs.
#[derive(Debug)]
enum End {
    Client(Request),
    /// Permitted origins of web pages. An empty list permits all origins.
    Server(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
    /// The peer has sent a Close frame.
    Closed,
}

/// Frame whose header has arrived.
#[derive(Debug)]
struct IncomingFrame {
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    /// Number of payload bytes that were received, modulo 4. This is the position in the masking key.
    position: usize,
    /// Number of payload bytes that have not arrived.
    left: u64,
    /// Payload of a control frame. Control frames are handled when they are complete.
    payload: Vec<u8>,
}

impl WebSocketLayer {
    /// Returns the layer of a client. `host` may contain a port. `headers` are added to the request.
    pub(crate) fn client(host: &str, path: &str, headers: &[String]) -> Self {
        Self::new(End::Client(Request::new(host, path, headers)))
    }

    /// Returns the layer of a server. An empty list permits all origins.
    pub(crate) fn server(origins: Vec<String>) -> Self {
        Self::new(End::Server(origins))
    }

    fn new(end: End) -> Self {
        Self {
            end,
            phase: Phase::Handshake,
            input: Vec::new(),
            frame: None,
            message_is_open: false,
            has_said_goodbye: false,
        }
    }

    /// Handles the HTTP request or response, if it is complete.
    fn handshake(&mut self, down: &mut Vec<u8>) -> Result<(), WebSocketError> {
        let length = match &self.end {
            End::Client(request) => accept_response(request, &self.input)?,
            End::Server(origins) => accept_request(origins, &self.input, down)?,
        };
        match length {
            // The same read may have brought frames. They stay in `input`.
            Some(length) => {
                self.input.drain(..length.min(self.input.len()));
                self.phase = Phase::Open;
                Ok(())
            }
            None if self.input.len() > MAXIMUM_HEAD => Err(WebSocketError::HeadTooLarge),
            None => Ok(()),
        }
    }

    /// Handles the frames and the parts of frames in `input`.
    fn frames(&mut self, up: &mut Vec<u8>, down: &mut Vec<u8>) -> Result<(), WebSocketError> {
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while self.phase == Phase::Open {
            let Some(mut frame) = self.frame.take() else {
                match self.header(&mut rest)? {
                    Some(frame) => self.frame = Some(frame),
                    None => break,
                }
                continue;
            };
            // `rest` is shorter than any length that does not fit into `usize`.
            let length = usize::try_from(frame.left)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (bytes, others) = rest.split_at(length);
            rest = others;
            // Data is passed on as it arrives. Waiting for the end of the frame would need as much memory as the peer
            // announces.
            let target = if frame.opcode.is_control() {
                &mut frame.payload
            } else {
                &mut *up
            };
            let start = target.len();
            target.extend_from_slice(bytes);
            if let Some(mask) = frame.mask {
                let masked = target.iter_mut().skip(start);
                let keys = mask.iter().cycle().skip(frame.position % 4);
                masked.zip(keys).for_each(|(byte, key)| *byte ^= key);
            }
            frame.position = (frame.position + length) % 4;
            frame.left -= length as u64;
            if frame.left > 0 {
                self.frame = Some(frame);
                break;
            }
            self.frame_ends(&frame, down)?;
        }
        // Bytes after a Close frame are discarded (RFC 6455, section 1.4).
        if self.phase != Phase::Closed {
            self.input = rest.to_vec();
        }
        Ok(())
    }

    /// Decodes the header of the next frame. Returns `None` if the header is incomplete.
    ///
    /// # Errors
    /// Returns an error if the frame is not allowed at this point.
    fn header(&mut self, rest: &mut &[u8]) -> Result<Option<IncomingFrame>, WebSocketError> {
        let Some(header) = FrameHeader::decode(rest)? else {
            return Ok(None);
        };
        let FrameHeader {
            is_final,
            opcode,
            mask,
            length,
        } = header;
        // A client must mask its frames, and a server must not (RFC 6455, section 5.1).
        if mask.is_some() != matches!(self.end, End::Server(_)) {
            return Err(WebSocketError::Frame);
        }
        // The frames of two messages must not alternate (RFC 6455, section 5.4). Control frames may arrive between the
        // frames of a message, and are never fragmented (section 5.5).
        match opcode {
            Opcode::Binary if !self.message_is_open => {}
            Opcode::Continuation if self.message_is_open => {}
            Opcode::Text => return Err(WebSocketError::Text), // [MQTT-6.0.0-1]
            Opcode::Close | Opcode::Ping | Opcode::Pong
                if is_final && length <= MAXIMUM_CONTROL => {}
            _ => return Err(WebSocketError::Frame),
        }
        if !opcode.is_control() {
            self.message_is_open = !is_final;
        }
        Ok(Some(IncomingFrame {
            opcode,
            mask,
            position: 0,
            left: length,
            payload: Vec::new(),
        }))
    }

    /// Handles the end of a frame: answers Ping and Close.
    fn frame_ends(
        &mut self,
        frame: &IncomingFrame,
        down: &mut Vec<u8>,
    ) -> Result<(), WebSocketError> {
        match frame.opcode {
            Opcode::Ping => self.push(Opcode::Pong, &frame.payload, down),
            Opcode::Close => {
                self.phase = Phase::Closed;
                self.goodbye(NORMAL_CLOSURE, down);
                let code = frame
                    .payload
                    .first_chunk()
                    .map(|code| u16::from_be_bytes(*code));
                // A Close frame without a status code is a normal closure too.
                if let Some(code) =
                    code.filter(|code| !matches!(*code, NORMAL_CLOSURE | GOING_AWAY))
                {
                    return Err(WebSocketError::Closed(code));
                }
            }
            // `frames` has already passed the data to `up`. A Pong needs no action, because this end sends no Ping.
            Opcode::Continuation | Opcode::Text | Opcode::Binary | Opcode::Pong => {}
        }
        Ok(())
    }

    /// Appends a Close frame, unless this end has sent one. Each end sends one Close frame (RFC 6455, section 5.5.1).
    fn goodbye(&mut self, code: u16, down: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_said_goodbye, true) {
            self.push(Opcode::Close, &code.to_be_bytes(), down);
        }
    }

    /// Appends one frame. A client masks its frames, so that a malicious web page cannot make a proxy read them as
    /// HTTP.
    fn push(&self, opcode: Opcode, payload: &[u8], down: &mut Vec<u8>) {
        let mask = matches!(self.end, End::Client(_)).then(|| {
            let mut mask = [0; 4];
            // A mask of zeros is valid, so the frame is sent even if the operating system has no random bytes.
            let _ = getrandom::fill(&mut mask);
            mask
        });
        let header = FrameHeader {
            is_final: true,
            opcode,
            mask,
            length: payload.len() as u64,
        };
        header.encode(down);
        let start = down.len();
        down.extend_from_slice(payload);
        if let Some(mask) = mask {
            let masked = down.iter_mut().skip(start);
            masked
                .zip(mask.iter().cycle())
                .for_each(|(byte, key)| *byte ^= key);
        }
    }
}

impl Layer for WebSocketLayer {
    fn kind(&self) -> LayerKind {
        LayerKind::WebSocket
    }

    fn start(&mut self, down: &mut Vec<u8>) -> io::Result<()> {
        if let End::Client(request) = &self.end {
            down.extend_from_slice(request.head().as_bytes());
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> io::Result<()> {
        self.input.extend_from_slice(bytes);
        if self.phase == Phase::Handshake {
            self.handshake(down)?;
        }
        let result = self.frames(up, down);
        if let Err(error) = &result {
            self.goodbye(error.close_code(), down);
        }
        Ok(result?)
    }

    fn send(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> io::Result<()> {
        self.push(Opcode::Binary, bytes, down); // [MQTT-6.0.0-1]
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.phase != Phase::Handshake
    }

    fn has_ended(&self) -> bool {
        self.phase == Phase::Closed
    }

    fn close(&mut self, down: &mut Vec<u8>) {
        // Before the end of the handshake the peer would read a Close frame as HTTP.
        if self.is_open() {
            self.goodbye(NORMAL_CLOSURE, down);
        }
    }

    /// Accepts the end of the socket without a Close frame. Such peers are common, and MQTT detects a packet that was
    /// cut off.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
