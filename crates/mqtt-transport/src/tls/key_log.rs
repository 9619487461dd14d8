//! A file with the secrets of connections, in the format that network analysers read (`SSLKEYLOGFILE`).

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;

use super::error::TlsSetupError;

/// A file to which the secrets of connections are appended.
#[derive(Debug)]
pub(super) struct KeyLogFile(Mutex<File>);

impl KeyLogFile {
    /// Opens the file, or creates it with access for its owner only.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn open(path: &Path) -> Result<Self, TlsSetupError> {
        let mut options = File::options();
        options.append(true).create(true);
        // A reader of this file can decrypt the connections.
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
        // One write for each line, as several processes may append to the same file.
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not break the connection.
        let _ = file.write_all(line.as_bytes());
    }
}
