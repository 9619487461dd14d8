//! [`KeyLogFile`] stores the secrets of TLS connections, in the format of network analysers (`SSLKEYLOGFILE`).

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;

use super::error::TlsSetupError;

/// File to which the secrets of connections are appended.
#[derive(Debug)]
pub(super) struct KeyLogFile(Mutex<File>);

impl KeyLogFile {
    /// Opens the file. A new file is readable by its owner only.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened.
    pub(super) fn open(path: &Path) -> Result<Self, TlsSetupError> {
        let mut options = File::options();
        options.append(true).create(true);
        // With this file anyone can decrypt the recorded connections.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path);
        let file = file.map_err(|error| TlsSetupError::Read(path.to_owned(), error))?;
        Ok(Self(Mutex::new(file)))
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        // Each line is one write, because several processes may append to the same file.
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A failed write, for example on a full disk, must not end the connection.
        let _ = file.write_all(line.as_bytes());
    }
}
