//! Certificate revocation lists (CRLs) of a listener.
//!
//! The client's own certificate must be covered by a list that is valid now, as with `X509_V_FLAG_CRL_CHECK` of OpenSSL.
//! If the list has expired or is missing, the client is rejected. For the intermediate certificates OpenSSL checks nothing
//! by default, and requires a list for each of them if it is told to. Here they need no list, so that files that work with
//! mosquitto suffice, but a list that revokes one of them counts.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::error::TlsSetupError;
use super::files;
use super::path::PathVerifier;
use super::revocation_error::{Reason, RevocationError};

/// The revocation lists of a file.
#[derive(Debug)]
pub(super) struct RevocationLists {
    lists: Vec<CertRevocationList<'static>>,
    file: Arc<Path>,
}

impl RevocationLists {
    /// Reads the lists of a file.
    ///
    /// # Errors
    /// If the file cannot be read, or has no lists.
    pub(super) fn read(file: &Path) -> Result<Self, TlsSetupError> {
        let fail = |error| TlsSetupError::RevocationList(file.to_owned(), error);
        let lists = files::revoked(file)?;
        // Owned lists are indexed by serial number, so that a large list does not slow each handshake.
        let lists = lists.iter().map(|list| {
            let list = OwnedCertRevocationList::from_der(list).map_err(fail)?;
            Ok(CertRevocationList::from(list))
        });
        Ok(Self {
            lists: lists.collect::<Result<_, _>>()?,
            file: file.into(),
        })
    }

    /// Verifies the certificate of a client and looks its path up in the lists.
    pub(super) fn verify(
        &self,
        path: &PathVerifier,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let verify = |depth, policy| {
            let lists: Vec<_> = self.lists.iter().collect();
            let options = RevocationOptionsBuilder::new(&lists);
            let options = options.map(|options| {
                options
                    .with_depth(depth)
                    .with_status_policy(policy)
                    .with_expiration_policy(ExpirationPolicy::Enforce)
                    .build()
            });
            // Without any list the status of every client is unknown.
            let options = options.map_err(|_| CertificateError::UnknownRevocationStatus)?;
            path.verify_client(certificate, intermediates, now, Some(options))
        };
        // The client's own certificate must be covered by a list.
        verify(RevocationCheckDepth::EndEntity, UnknownStatusPolicy::Deny)
            .map_err(|error| self.explain(error, certificate))?;
        // Intermediate certificates may have no list.
        verify(RevocationCheckDepth::Chain, UnknownStatusPolicy::Allow).map_err(|error| match error
        {
            // The client's own certificate was checked above, so the revoked one is an intermediate certificate.
            Error::InvalidCertificate(CertificateError::Revoked) => {
                self.error(Reason::Intermediate)
            }
            error => self.explain(error, certificate),
        })
    }

    /// Adds the file and the reason to an error that is caused by the lists.
    fn explain(&self, error: Error, end_entity: &CertificateDer<'_>) -> Error {
        let reason = match &error {
            Error::InvalidCertificate(CertificateError::ExpiredRevocationListContext {
                time,
                next_update,
            }) => Reason::Expired(time.as_secs().saturating_sub(next_update.as_secs()) / 86400),
            Error::InvalidCertificate(CertificateError::UnknownRevocationStatus) => {
                Reason::Uncovered(issuer(end_entity))
            }
            Error::InvalidCertificate(CertificateError::Other(error)) => {
                match error.0.downcast_ref() {
                    Some(error) if is_about_list(error) => Reason::Invalid(error.clone()),
                    _ => return Error::InvalidCertificate(CertificateError::Other(error.clone())),
                }
            }
            // rustls sends a specific alert for a revoked certificate, so this error is unchanged.
            _ => return error,
        };
        self.error(reason)
    }

    fn error(&self, reason: Reason) -> Error {
        let file = Arc::clone(&self.file);
        let error = OtherError(Arc::new(RevocationError { file, reason }));
        CertificateError::Other(error).into()
    }
}

/// Returns `true` if an error is about a revocation list rather than a certificate.
fn is_about_list(error: &webpki::Error) -> bool {
    use webpki::Error as E;
    matches!(
        error,
        E::InvalidCrlSignatureForPublicKey
            | E::UnsupportedCrlSignatureAlgorithmContext(_)
            | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
            | E::IssuerNotCrlSigner
    )
}

/// Returns the name of the authority that has signed a certificate.
fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.issuer.to_string())
}
