//! [`Farewell`] is the last output of a client that gives up.

use crate::dialer::Dialer;

/// Last bytes for the server, which report the reason for the end of the connection. Acknowledgements that the program
/// has not committed yet may precede these bytes. Therefore the bytes are written only when the program drops the event
/// loop.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    bytes: Vec<u8>,
    /// Stream for the bytes. `None` until the client gives up.
    dialer: Option<Dialer>,
}

impl Farewell {
    /// Stores these bytes.
    pub(super) fn set(&mut self, bytes: &[u8]) {
        self.bytes = bytes.to_vec();
    }

    /// Discards the bytes.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Stores the stream. The bytes are written to it when this value is dropped.
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
