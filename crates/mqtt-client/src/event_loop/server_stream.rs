//! [`ServerStream`] is the stream to the server and its state, from the look-up of the host name to the last byte.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use mio::event::Event;
use mio::{Registry, Token, Waker};
use mqtt_session::CloseReason;
#[cfg(feature = "tls")]
use mqtt_transport::TlsError;
use mqtt_transport::{ReadBuffer, ReadStatus};

use crate::core::ClientCore;
use crate::dialer::{Advance, Attempt, Dialer};
use crate::error::ClientError;

/// Token of the socket to the server.
pub(super) const STREAM: Token = Token(0);

/// The stream to the server, or the progress of opening it.
#[derive(Debug)]
pub(super) struct ServerStream {
    pub(super) dialer: Dialer,
    /// Bytes from the server that have not been handled.
    pub(super) buffer: ReadBuffer,
    /// Set while the socket may have more bytes.
    readable: bool,
    /// Set when a write has failed. Bytes that the server sent earlier are still read, because they may give the
    /// reason.
    unwritable: bool,
    /// Set when all bytes of the stream have been read.
    is_closed: bool,
    /// Set when the operating system has reported the end of the stream. Unread bytes may precede the end.
    has_hung_up: bool,
    /// Error of a layer, for example TLS, that has ended reading.
    transport_error: Option<io::Error>,
    /// Total number of output bytes that all streams have accepted.
    written: u64,
}

impl ServerStream {
    /// Returns the stream of a client that connects at this time.
    pub(super) fn new(connects_at: Instant) -> Self {
        Self {
            dialer: Dialer::Waiting(connects_at),
            buffer: ReadBuffer::default(),
            readable: false,
            unwritable: false,
            is_closed: false,
            has_hung_up: false,
            transport_error: None,
            written: 0,
        }
    }

    /// Makes as much progress as possible towards an open stream, without blocking.
    pub(super) fn advance(
        &mut self,
        attempt: &Attempt<'_>,
        registry: &Registry,
        waker: &Arc<Waker>,
        now: Instant,
    ) -> Result<Advance, ClientError> {
        self.dialer.advance(attempt, registry, STREAM, waker, now)
    }

    /// Resets the state for a stream that has just been opened.
    pub(super) fn begin(&mut self) {
        // The buffer may contain the start of a packet that the last connection did not complete.
        self.buffer.clear();
        self.readable = true;
        (self.unwritable, self.is_closed, self.has_hung_up) = (false, false, false);
    }

    /// Records the readiness of the socket. Readiness is edge-triggered, so it is recorded even while the stream is not
    /// open yet.
    pub(super) fn handle_readiness(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.has_hung_up |= event.is_read_closed() || event.is_error();
    }

    /// Reads bytes of the server into the buffer.
    pub(super) fn read(&mut self) {
        // The readiness may belong to a stream that is not open yet.
        let Dialer::Connected(stream) = &mut self.dialer else {
            return;
        };
        match self.buffer.fill(stream) {
            Ok(ReadStatus::More) => {}
            Ok(ReadStatus::Drained) if !self.unwritable => self.readable = false,
            // After a failed write the connection is dead, so an empty socket counts as closed.
            Ok(ReadStatus::Drained | ReadStatus::Closed) => {
                self.readable = false;
                self.is_closed = true;
            }
            Err(error) => {
                self.readable = false;
                self.is_closed = true;
                // An error that contains another error comes from a layer. It is more specific than the lost
                // connection.
                self.transport_error = error.get_ref().is_some().then_some(error);
            }
        }
    }

    /// Writes as much of the output as the socket accepts. A failed write does not end the connection yet, because the
    /// server may have sent the reason.
    pub(super) fn write(&mut self, core: &mut ClientCore) {
        if let Dialer::Connected(stream) = &mut self.dialer {
            let has_something = !core.output().is_empty() || stream.unsent() > 0;
            if self.unwritable || !has_something {
                return;
            }
            match stream.write(core.output()) {
                Ok(written) => {
                    self.written += written as u64;
                    core.consume_output(Instant::now(), written);
                }
                // Reading returns the bytes before the end, which may give the reason, and then the error.
                Err(_) => (self.unwritable, self.readable) = (true, true),
            }
        }
    }

    /// Replaces the error of a lost connection by the error of the layer that has caused the loss.
    pub(super) fn explain(&mut self, error: ClientError) -> ClientError {
        match (error, self.transport_error.take()) {
            (ClientError::Closed(CloseReason::ConnectionLost), Some(error)) => {
                ClientError::Transport(error)
            }
            // The server has answered CONNECT with a TLS alert, which is not an MQTT packet.
            #[cfg(feature = "tls")]
            (ClientError::Closed(CloseReason::Decode(_)), _)
                if TlsError::is_alert(self.buffer.unread()) =>
            {
                ClientError::Transport(TlsError::Expected.into())
            }
            (error, _) => error,
        }
    }

    /// Returns the number of bytes that wait for the socket.
    pub(super) fn unwritten(&self, core: &ClientCore) -> usize {
        let unsent = match &self.dialer {
            Dialer::Connected(stream) => stream.unsent(),
            _ => 0,
        };
        core.output().len() + unsent
    }

    /// Returns `true` while the socket may have more bytes.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Returns `true` if a write has failed.
    pub(super) fn is_unwritable(&self) -> bool {
        self.unwritable
    }

    /// Returns `true` if all bytes of the stream have been read.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns `true` if the server has closed the connection. Unread bytes may precede the end.
    pub(super) fn has_hung_up(&self) -> bool {
        self.has_hung_up || self.unwritable
    }

    /// Returns the total number of output bytes that all streams have accepted.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
}
