//! The error of a certificate that is rejected because of a revocation list.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::words::Problem;

/// The reason why a revocation list rejects a certificate.
#[derive(Debug)]
pub(super) struct RevocationError {
    pub(super) file: Arc<Path>,
    pub(super) reason: Reason,
}

#[derive(Debug)]
pub(super) enum Reason {
    /// The list has expired this number of days ago.
    Expired(u64),
    /// An intermediate certificate is revoked.
    Intermediate,
    /// No list is issued by the authority that has signed the certificate. The name of the authority, if it can be read.
    Uncovered(Option<String>),
    /// The signature of a list is invalid.
    Invalid(webpki::Error),
}

impl fmt::Display for RevocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.reason {
            Reason::Expired(days) => {
                write!(f, "the revocation list in '{file}' expired {days} days ago")?;
                f.write_str(" (renew it, or check the clock of this machine)")
            }
            Reason::Intermediate => {
                write!(
                    f,
                    "an intermediate certificate is revoked by the list in '{file}'"
                )
            }
            Reason::Uncovered(Some(issuer)) => write!(
                f,
                "no revocation list in '{file}' is issued by '{issuer}', the issuer of the certificate (add its list)"
            ),
            Reason::Uncovered(None) => {
                write!(
                    f,
                    "no revocation list in '{file}' is issued by the issuer of the certificate (add its list)"
                )
            }
            Reason::Invalid(error) => {
                let problem = Problem(error);
                write!(
                    f,
                    "the revocation list in '{file}' cannot be used: it {problem}"
                )
            }
        }
    }
}

impl std::error::Error for RevocationError {}
