//! [`Reserve`]: file descriptors that are kept back from clients. When clients have taken all others, an administrator
//! can still reload the configuration and run `rbroker status`.

#[cfg(unix)]
use std::fs::File;

/// The number of descriptors that a reload needs at the same time: a folder of certificates or of configuration files,
/// a file in this folder, and the log.
#[cfg(unix)]
const COUNT: usize = 3;

/// Open descriptors without a use. The server closes them before a reload and before it accepts at the status socket,
/// and opens them again afterwards. The server accepts clients only while all of these descriptors are open.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    #[cfg(unix)]
    files: Vec<File>,
}

impl Reserve {
    /// Opens the missing descriptors.
    ///
    /// # Errors
    /// Returns an error if the process has no descriptor left.
    #[cfg(unix)]
    pub(super) fn fill(&mut self) -> std::io::Result<()> {
        while self.files.len() < COUNT {
            self.files.push(File::open("/dev/null")?);
        }
        Ok(())
    }

    /// Does nothing: other systems have no such limit of descriptors.
    #[cfg(not(unix))]
    pub(super) fn fill(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// Closes the descriptors, so that the caller can open files.
    pub(super) fn release(&mut self) {
        #[cfg(unix)]
        self.files.clear();
    }
}
