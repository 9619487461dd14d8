//! [`AccessError`]: the reasons why a password file or an ACL file cannot be used.

use std::path::PathBuf;
use std::{fmt, io};

use mqtt_transport::reason;

/// The reason why a password file or an ACL file cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum AccessError {
    /// The file cannot be read.
    Read(AccessFile, PathBuf, io::Error),
    /// A line is invalid. The last two fields are the number of the line, from 1, and the reason.
    Line(AccessFile, PathBuf, usize, String),
}

/// The kinds of files that control access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFile {
    /// A password file.
    Passwords,
    /// An ACL file.
    AccessList,
}

impl fmt::Display for AccessFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passwords => "password file",
            Self::AccessList => "ACL file",
        })
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(file, path, error) => {
                let (path, reason) = (path.display(), reason(error));
                write!(f, "cannot read the {file} '{path}': {reason}")
            }
            Self::Line(file, path, number, what) => {
                write!(
                    f,
                    "line {number} of the {file} '{}' is invalid: {what}",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for AccessError {}
