//! WebSocket (RFC 6455) as a layer, for both ends. MQTT is sent in binary messages, whose borders have no meaning
//! [MQTT-6.0.0-2]. This file handles frames; `handshake.rs` handles the HTTP before them, and `frame.rs` the header of a
//! frame.

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

/// The maximum length of the payload of a control frame.
const MAXIMUM_CONTROL: u64 = 125;

/// The maximum length of the head of the HTTP request or response.
const MAXIMUM_HEAD: usize = 8 * 1024;

/// A WebSocket connection.
#[derive(Debug)]
pub(crate) struct WebSocketLayer {
    end: End,
    phase: Phase,
    /// Bytes that were received and not handled yet: an incomplete HTTP head or frame header.
    input: Vec<u8>,
    /// The frame whose payload is being received.
    frame: Option<IncomingFrame>,
    /// Set while a message has begun and its last frame has not arrived.
    message_is_open: bool,
    has_said_goodbye: bool,
}

#[derive(Debug)]
enum End {
    Client(Request),
    /// The permitted origins of web pages; an empty list permits all origins.
    Server(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
    /// The peer has sent a Close frame.
    Closed,
}

/// A frame whose header has arrived.
#[derive(Debug)]
struct IncomingFrame {
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    /// The number of payload bytes that were received, modulo 4: the place in the mask.
    position: usize,
    /// The number of payload bytes that have not arrived.
    left: u64,
    /// The payload of a control frame, which is handled when it is complete.
    payload: Vec<u8>,
}

impl WebSocketLayer {
    /// Creates the layer of a client. `host` may have a port; `headers` are added to the request.
    pub(crate) fn client(host: &str, path: &str, headers: &[String]) -> Self {
        Self::new(End::Client(Request::new(host, path, headers)))
    }

    /// Creates the layer of a server. An empty list permits all origins.
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

    /// Handles the head of the request or response, if it is complete.
    fn handshake(&mut self, down: &mut Vec<u8>) -> Result<(), WebSocketError> {
        let length = match &self.end {
            End::Client(request) => accept_response(request, &self.input)?,
            End::Server(origins) => accept_request(origins, &self.input, down)?,
        };
        match length {
            // Frames may have arrived in the same read; they stay in `input`.
            Some(length) => {
                self.input.drain(..length.min(self.input.len()));
                self.phase = Phase::Open;
                Ok(())
            }
            None if self.input.len() > MAXIMUM_HEAD => Err(WebSocketError::HeadTooLarge),
            None => Ok(()),
        }
    }

    /// Handles the frames, and parts of frames, that have arrived.
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
            let length = usize::try_from(frame.left)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (bytes, others) = rest.split_at(length);
            rest = others;
            // Data is passed on as it arrives: waiting for the end of the frame would need as much memory as a peer announces.
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

    /// Decodes the header of the next frame; returns `None` if it is incomplete.
    ///
    /// # Errors
    /// If the frame is not permitted here.
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
        // Frames of a client must be masked and those of a server must not (RFC 6455, section 5.1).
        if mask.is_some() != matches!(self.end, End::Server(_)) {
            return Err(WebSocketError::Frame);
        }
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
                // A Close frame without a code is normal, too.
                if let Some(code) =
                    code.filter(|code| !matches!(*code, NORMAL_CLOSURE | GOING_AWAY))
                {
                    return Err(WebSocketError::Closed(code));
                }
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary | Opcode::Pong => {}
        }
        Ok(())
    }

    /// Sends a Close frame, unless one was sent: each end sends one (RFC 6455, section 5.5.1).
    fn goodbye(&mut self, code: u16, down: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_said_goodbye, true) {
            self.push(Opcode::Close, &code.to_be_bytes(), down);
        }
    }

    /// Appends one frame. Frames of a client are masked, so that a page cannot make a proxy take them for HTTP.
    fn push(&self, opcode: Opcode, payload: &[u8], down: &mut Vec<u8>) {
        let mask = matches!(self.end, End::Client(_)).then(|| {
            let mut mask = [0; 4];
            // A mask of zeros is valid, so the frame is sent even if the system has no random bytes.
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
        if self.is_open() {
            self.goodbye(NORMAL_CLOSURE, down);
        }
    }

    /// Accepts the end of the socket without a Close frame: such peers are common, and MQTT itself shows whether a packet
    /// was cut off.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
