//! The start and the end of a stream: the handshakes of its layers, and their closing messages.

use std::io::{self, ErrorKind};

use super::{CHUNK, ReadStatus, Stream};

/// Maximum number of bytes that one call of [`Stream::open`] reads. No handshake needs that many.
const MAXIMUM_HANDSHAKE: usize = 1024 * 1024;

impl Stream {
    /// Continues the handshakes of the layers without blocking. Returns `true` if all handshakes are complete. Until
    /// then the caller must call this function on each readiness.
    ///
    /// # Errors
    /// Returns an error if a handshake fails, or if the peer closes the connection during a handshake.
    pub fn open(&mut self) -> io::Result<bool> {
        // The limit prevents a peer that sends endless handshake bytes from blocking the event loop.
        let mut received = 0;
        while received < MAXIMUM_HANDSHAKE {
            let Some(layers) = &mut self.layers else {
                return Ok(true);
            };
            // The first call starts the lowest layer. `receive` starts the layers above it.
            layers.start()?;
            if layers.is_open() {
                self.flush()?;
                return Ok(true);
            }
            self.flush()?;
            let result = self.receive().map(|(count, status)| {
                received += count;
                status
            });
            match result {
                // The handshake is complete. The next round of the loop flushes and returns.
                Ok(ReadStatus::More | ReadStatus::Drained) if self.is_open() => {}
                Ok(ReadStatus::More) => {}
                Ok(ReadStatus::Drained) => return Ok(false),
                Ok(ReadStatus::Closed) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) => {
                    let _ = self.flush(); // The output may contain an alert with the reason.
                    return Err(error);
                }
            }
        }
        let text = "the peer sent too much data in the handshake";
        Err(io::Error::new(ErrorKind::InvalidData, text))
    }

    /// Adds to an error of [`Stream::open`], or to a timeout, the layer whose handshake was in progress.
    pub fn explained(&self, error: io::Error) -> io::Error {
        match &self.layers {
            Some(layers) => layers.explained(error),
            None => error,
        }
    }

    /// Ends the sending side. Bytes that the peer still sends can be read. With layers these bytes are discarded, and
    /// [`Stream::read`] returns only the status.
    ///
    /// # Errors
    /// Returns an error if the connection is already lost.
    pub fn shut_down_writing(&mut self) -> io::Result<()> {
        self.is_discarding = true;
        self.say_goodbye()?;
        self.socket.shut_down_writing()
    }

    /// Sends the closing messages of the layers: `close_notify` of TLS and the Close frame of WebSocket. They show the
    /// peer that the data was not cut off.
    ///
    /// # Errors
    /// Returns an error if the connection is already lost.
    pub fn say_goodbye(&mut self) -> io::Result<()> {
        // Layers that have failed have already sent an alert instead.
        if let Some(layers) = self.layers.as_mut().filter(|_| !self.has_failed) {
            layers.close()?;
        }
        self.flush()
    }

    /// Reads from the socket and discards the bytes.
    pub(super) fn discard(&mut self) -> io::Result<(usize, ReadStatus)> {
        let (_, status) = self.read_socket(&mut [0; CHUNK])?;
        Ok((0, status))
    }
}
