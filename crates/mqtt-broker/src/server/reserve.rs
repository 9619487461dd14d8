//! [`Reserve`]: file descriptors that are kept back from clients, so that an administrator can still do something when
//! clients have taken all others.

#[cfg(unix)]
use std::fs::File;

/// The number of descriptors that a reload needs: a folder of certificates or of configuration files, a file in it, and
/// the log.
#[cfg(unix)]
const COUNT: usize = 3;

/// Open descriptors that nobody uses. The loop closes them before it opens files or answers a question for the status,
/// and opens them again after that. Connections are accepted only while the reserve is complete.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    #[cfg(unix)]
    files: Vec<File>,
}

impl Reserve {
    /// Opens the missing descriptors.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    #[cfg(unix)]
    pub(super) fn fill(&mut self) -> std::io::Result<()> {
        while self.files.len() < COUNT {
            self.files.push(File::open("/dev/null")?);
        }
        Ok(())
    }

    /// Other systems have no such limit.
    #[cfg(not(unix))]
    pub(super) fn fill(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// Closes the descriptors, for whatever the caller opens next.
    pub(super) fn release(&mut self) {
        #[cfg(unix)]
        self.files.clear();
    }
}
