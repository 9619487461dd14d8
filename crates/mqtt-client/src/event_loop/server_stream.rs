//! [`ServerStream`]: the stream to the server with its state, from the look-up of the host name to the last byte.

use std::io;
use std::time::Instant;

use mio::event::Event;
use mqtt_session::CloseReason;
#[cfg(feature = "tls")]
use mqtt_transport::TlsError;
use mqtt_transport::{ReadBuffer, ReadStatus};

use super::poller::{Poller, STREAM};
use crate::core::ClientCore;
use crate::dialer::{Advance, Attempt, Dialer};
use crate::error::ClientError;

/// The stream to the server, or the steps to it.
#[derive(Debug)]
pub(super) struct ServerStream {
    pub(super) dialer: Dialer,
    /// Bytes from the server that were not handled.
    pub(super) buffer: ReadBuffer,
    /// Set while the socket may have more bytes.
    readable: bool,
    /// Set once writing has failed. Bytes that the server sent before are still read: they may explain the failure.
    unwritable: bool,
    /// Set once all bytes of the stream were read.
    is_closed: bool,
    /// Set once the system has reported the end of the stream, perhaps with bytes before it that were not read.
    has_hung_up: bool,
    /// The error of a layer, such as TLS, that ended reading.
    transport_error: Option<io::Error>,
    /// The number of bytes of output that all streams together have taken.
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

    /// Makes as much progress towards an open stream as is possible without waiting.
    pub(super) fn advance(
        &mut self,
        attempt: &Attempt<'_>,
        poller: &Poller,
        now: Instant,
    ) -> Result<Advance, ClientError> {
        self.dialer
            .advance(attempt, poller.registry(), STREAM, poller.waker(), now)
    }

    /// Starts with a stream that was opened now.
    pub(super) fn begin(&mut self) {
        // The buffer may still hold the start of a packet that the last connection did not complete.
        self.buffer.clear();
        self.readable = true;
        (self.unwritable, self.is_closed, self.has_hung_up) = (false, false, false);
    }

    /// Records the readiness of the socket. Events are edge-triggered, so those of a stream that is still being
    /// connected are recorded, too.
    pub(super) fn handle_readiness(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.has_hung_up |= event.is_read_closed() || event.is_error();
    }

    /// Reads into the buffer.
    pub(super) fn read(&mut self) {
        // Readiness may be that of a stream that is still being connected or opened.
        let Dialer::Connected(stream) = &mut self.dialer else {
            return;
        };
        match self.buffer.fill(stream) {
            Ok(ReadStatus::More) => {}
            Ok(ReadStatus::Drained) if !self.unwritable => self.readable = false,
            Ok(ReadStatus::Drained | ReadStatus::Closed) => {
                self.readable = false;
                self.is_closed = true;
            }
            Err(error) => {
                self.readable = false;
                self.is_closed = true;
                // An error with a source is that of a layer, and explains more than the lost connection.
                self.transport_error = error.get_ref().is_some().then_some(error);
            }
        }
    }

    /// Writes the output, as far as the socket accepts it. A failure does not end the connection yet: the server may
    /// have sent the reason.
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
                // Reading finds the reason: the bytes before the end, and then the error.
                Err(_) => (self.unwritable, self.readable) = (true, true),
            }
        }
    }

    /// Replaces the error of a lost connection by that of the layer that caused it.
    pub(super) fn explain(&mut self, error: ClientError) -> ClientError {
        match (error, self.transport_error.take()) {
            (ClientError::Closed(CloseReason::ConnectionLost), Some(error)) => {
                ClientError::Transport(error)
            }
            // The server has answered CONNECT with an alert of TLS, which is no MQTT packet.
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

    /// Returns `true` once writing has failed.
    pub(super) fn is_unwritable(&self) -> bool {
        self.unwritable
    }

    /// Returns `true` once all bytes of the stream were read.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns `true` if the server has closed the connection, perhaps after bytes that were not read.
    pub(super) fn has_hung_up(&self) -> bool {
        self.has_hung_up || self.unwritable
    }

    /// Returns the number of bytes of output that all streams together have taken.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
}
