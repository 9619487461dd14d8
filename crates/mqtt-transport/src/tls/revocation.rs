//! Certificate revocation lists (CRLs) of a listener.
//!
//! A valid list must cover the client's own certificate, as with `X509_V_FLAG_CRL_CHECK` of OpenSSL. If the list is
//! missing or has expired, the client is rejected. OpenSSL does not check intermediate certificates by default, and can
//! be told to require a list for each of them. Here an intermediate certificate needs no list, so that files for
//! mosquitto are sufficient. If a list revokes an intermediate certificate, the client is rejected.

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

/// Revocation lists in one file.
#[derive(Debug)]
pub(super) struct RevocationLists {
    lists: Vec<CertRevocationList<'static>>,
    file: Arc<Path>,
}

impl RevocationLists {
    /// Reads the revocation lists in a file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if it contains no list.
    pub(super) fn read(file: &Path) -> Result<Self, TlsSetupError> {
        let fail = |error| TlsSetupError::RevocationList(file.to_owned(), error);
        let lists = files::revoked(file)?;
        // Owned lists are indexed by serial number, so that a large list does not slow down each handshake.
        let lists = lists.iter().map(|list| {
            let list = OwnedCertRevocationList::from_der(list).map_err(fail)?;
            Ok(CertRevocationList::from(list))
        });
        Ok(Self {
            lists: lists.collect::<Result<_, _>>()?,
            file: file.into(),
        })
    }

    /// Verifies the certificate of a client, and checks its path against the lists.
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
            // webpki rejects an empty set of lists. Without a list the status of each client is unknown.
            let options = options.map_err(|_| CertificateError::UnknownRevocationStatus)?;
            path.verify_client(certificate, intermediates, now, Some(options))
        };
        // A list must cover the client's own certificate.
        verify(RevocationCheckDepth::EndEntity, UnknownStatusPolicy::Deny)
            .map_err(|error| self.explain(error, certificate))?;
        // Intermediate certificates need no list. Expired lists are rejected in both calls.
        verify(RevocationCheckDepth::Chain, UnknownStatusPolicy::Allow).map_err(|error| match error
        {
            // The client's own certificate was checked above, so the revoked certificate is an intermediate one.
            Error::InvalidCertificate(CertificateError::Revoked) => {
                self.error(Reason::Intermediate)
            }
            error => self.explain(error, certificate),
        })
    }

    /// Adds the file and the reason to an error that the lists have caused.
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
            // rustls sends a specific alert for a revoked certificate, so this error must stay unchanged.
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

/// Returns `true` if the error concerns a revocation list and not a certificate.
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

/// Returns the name of the authority that has issued the certificate.
fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.issuer.to_string())
}
