//! [`ConfigError`]: the reasons why a configuration cannot be used.

use std::path::PathBuf;
use std::{fmt, io};

use mqtt_transport::reason;

/// An error in a configuration file.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// A line is invalid. The fields are the file, the number of the line from 1, and the reason.
    Line(PathBuf, usize, String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => {
                let (path, reason) = (path.display(), reason(error));
                write!(f, "Unable to open config file '{path}': {reason}.")
            }
            Self::Line(path, number, what) => {
                write!(f, "{what} Error found at {}:{number}.", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}
