//! Certificate revocation lists (CRLs) at the server: which clients they reject, and why.
//!
//! The client's own certificate must be covered by a list that is valid now, as with `X509_V_FLAG_CRL_CHECK` of
//! OpenSSL: an expired list, or one of another authority, says nothing about it, and then nobody comes in. OpenSSL
//! looks at the other certificates of the chain only if it is told to, and wants a list for each of them. Here they
//! need none, but a list that is there counts: files that serve with mosquitto stay enough.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientCertVerifierBuilder, VerifierBuilderError};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::{TlsSetupError, files};

/// Checks what rustls checks, and the lists of a file.
#[derive(Debug)]
pub(super) struct RevocationVerifier {
    /// Wants a list for the client's own certificate.
    end_entity: Arc<dyn ClientCertVerifier>,
    /// Looks up all certificates of the chain, as far as there are lists.
    chain: Arc<dyn ClientCertVerifier>,
    file: Arc<Path>,
}

/// Why a certificate is not accepted, if that is due to the lists.
#[derive(Debug)]
pub(super) struct RevocationError {
    file: Arc<Path>,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// The list was to be renewed so many days ago.
    Expired(Option<u64>),
    /// An intermediate certificate is revoked.
    Intermediate,
    /// There is no list of the authority that has signed the certificate: its name, if it can be read.
    Uncovered(Option<String>),
    /// A list is not signed as it should be.
    Invalid(rustls::CertRevocationListError),
}

impl RevocationVerifier {
    /// Adds the lists of a file to what `builder` checks.
    ///
    /// # Errors
    /// If the file cannot be read, or has no lists.
    pub(super) fn new(
        builder: ClientCertVerifierBuilder,
        file: &Path,
    ) -> Result<Self, TlsSetupError> {
        let builder = builder
            .with_crls(files::revoked(file)?)
            .enforce_revocation_expiration();
        let fail = |error| match error {
            VerifierBuilderError::InvalidCrl(error) => {
                TlsSetupError::RevocationList(file.to_owned(), error)
            }
            _ => TlsSetupError::NoClientAuthorities,
        };
        let end_entity = builder.clone().only_check_end_entity_revocation();
        let chain = builder.allow_unknown_revocation_status();
        Ok(Self {
            end_entity: end_entity.build().map_err(fail)?,
            chain: chain.build().map_err(fail)?,
            file: file.into(),
        })
    }

    /// Puts the file and what to look at into an error of the lists.
    fn explain(&self, error: Error, end_entity: &CertificateDer<'_>) -> Error {
        let reason = match error {
            Error::InvalidCertificate(CertificateError::ExpiredRevocationList) => {
                Reason::Expired(None)
            }
            Error::InvalidCertificate(CertificateError::ExpiredRevocationListContext {
                time,
                next_update,
            }) => Reason::Expired(Some(
                time.as_secs().saturating_sub(next_update.as_secs()) / 86400,
            )),
            Error::InvalidCertificate(CertificateError::UnknownRevocationStatus) => {
                Reason::Uncovered(issuer(end_entity))
            }
            Error::InvalidCertRevocationList(error) => Reason::Invalid(error),
            // A revoked certificate has an alert of its own, so this error stays as it is.
            error => return error,
        };
        self.error(reason)
    }

    fn error(&self, reason: Reason) -> Error {
        let file = Arc::clone(&self.file);
        let error = OtherError(Arc::new(RevocationError { file, reason }));
        CertificateError::Other(error).into()
    }
}

/// The name of the authority that has signed a certificate.
fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.issuer.to_string())
}

impl ClientCertVerifier for RevocationVerifier {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.end_entity
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| self.explain(error, end_entity))?;
        self.chain
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| match error {
                // The client's own certificate is not: it was looked up above.
                Error::InvalidCertificate(CertificateError::Revoked) => {
                    self.error(Reason::Intermediate)
                }
                error => self.explain(error, end_entity),
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

impl fmt::Display for RevocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.reason {
            Reason::Expired(days) => {
                write!(f, "the revocation list in '{file}' has expired")?;
                if let Some(days) = days {
                    write!(f, " {days} days ago")?;
                }
                f.write_str(" (renew it, or check the clock of this machine)")
            }
            Reason::Intermediate => {
                write!(
                    f,
                    "an intermediate certificate has been revoked, by the list in '{file}'"
                )
            }
            Reason::Uncovered(Some(issuer)) => write!(
                f,
                "no revocation list in '{file}' is of the certificate's issuer '{issuer}' (add its list)"
            ),
            Reason::Uncovered(None) => {
                write!(
                    f,
                    "no revocation list in '{file}' is of the certificate's issuer (add its list)"
                )
            }
            Reason::Invalid(error) => {
                write!(
                    f,
                    "the revocation list in '{file}' cannot be used: {error:?}"
                )
            }
        }
    }
}

impl std::error::Error for RevocationError {}
