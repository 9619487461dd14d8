//! [`Farewell`]: the last bytes for the server.

use crate::dialer::Dialer;

/// The last bytes for the server, which explain the end of the connection. They follow acknowledgements that the program
/// has not committed yet, so they are written when the program drops the loop.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    bytes: Vec<u8>,
    /// The stream for the bytes. `None` until the client gives up.
    dialer: Option<Dialer>,
}

impl Farewell {
    /// Keeps these bytes.
    pub(super) fn set(&mut self, bytes: &[u8]) {
        self.bytes = bytes.to_vec();
    }

    /// Drops the bytes.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Takes the stream to which the bytes are written when this value is dropped.
    pub(super) fn send_on_drop(&mut self, dialer: Dialer) {
        self.dialer = Some(dialer);
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(Dialer::Connected(stream)) = &mut self.dialer {
            let _ = stream.write(&self.bytes);
        }
    }
}
