//! TLS, at both ends.

use std::io::{self, Read, Write};

use rustls::Connection;

use super::Layer;
use crate::tls::TlsError;

/// One TLS connection.
#[derive(Debug)]
pub(crate) struct TlsLayer {
    connection: Connection,
    /// The peer has said that nothing more comes.
    peer_closed: bool,
}

impl TlsLayer {
    pub(crate) fn new(mut connection: Connection) -> Self {
        // Who sends here waits for the socket anyway.
        connection.set_buffer_limit(None);
        Self {
            connection,
            peer_closed: false,
        }
    }

    fn flush(&mut self, down: &mut Vec<u8>) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(down)?;
        }
        Ok(())
    }
}

impl Layer for TlsLayer {
    fn start(&mut self, down: &mut Vec<u8>) -> io::Result<()> {
        self.flush(down)
    }

    fn receive(&mut self, bytes: &[u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> io::Result<()> {
        let mut input = bytes;
        while !input.is_empty() && !self.peer_closed {
            self.connection.read_tls(&mut input)?;
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    self.flush(down)?; // the alert that tells the peer
                    return Err(TlsError::from(error).into());
                }
            };
            let start = up.len();
            up.resize(start + state.plaintext_bytes_to_read(), 0);
            let room = up.get_mut(start..).unwrap_or_default();
            self.connection.reader().read_exact(room)?;
            self.peer_closed = state.peer_has_closed();
        }
        self.flush(down)
    }

    fn send(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> io::Result<()> {
        self.connection.writer().write_all(bytes)?;
        self.flush(down)
    }

    fn is_open(&self) -> bool {
        !self.connection.is_handshaking()
    }

    fn close(&mut self, down: &mut Vec<u8>) {
        self.connection.send_close_notify();
        let _ = self.flush(down); // memory takes everything
    }

    fn end(&mut self) -> io::Result<()> {
        match self.is_open() && !self.peer_closed {
            true => Err(TlsError::Truncated.into()),
            false => Ok(()),
        }
    }
}
