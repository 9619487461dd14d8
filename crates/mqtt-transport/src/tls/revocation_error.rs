//! [`RevocationError`] is the error for a certificate that is rejected because of the revocation lists.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::words::Problem;

/// Error for a certificate that is rejected because of the revocation lists in `file`.
#[derive(Debug)]
pub(super) struct RevocationError {
    pub(super) file: Arc<Path>,
    pub(super) reason: Reason,
}

/// Reason of a [`RevocationError`].
#[derive(Debug)]
pub(super) enum Reason {
    /// A list expired this number of days ago.
    Expired(u64),
    /// An intermediate certificate is revoked.
    Intermediate,
    /// The authority that has issued the certificate has issued no list. The field is the name of the authority, if it
    /// can be decoded.
    Uncovered(Option<String>),
    /// A list is not signed by its authority, or its signature algorithm is not supported.
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
