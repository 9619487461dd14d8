//! [`PathVerifier`] verifies the path from a peer's certificate through intermediate certificates to a trusted
//! authority.
//!
//! All certificates of clients and servers, including legacy ones, are verified here, and webpki makes all checks.
//! Separate code for legacy certificates would have to repeat the checks of dates, paths, constraints and revocation
//! lists. A wrapper around the verifiers of rustls could not replace the bytes over which the issuer's signature is
//! verified.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, RevocationOptions};

use super::authorities::Authorities;
use super::curves;
use super::legacy::{LegacyCertificate, Role};

/// Trusted authorities, and the algorithms with which authorities and peers may sign.
#[derive(Debug)]
pub(super) struct PathVerifier {
    authorities: Authorities,
    /// Algorithms of ring. `curves::MORE` has the algorithms that ring does not support.
    algorithms: WebPkiSupportedAlgorithms,
}

impl PathVerifier {
    pub(super) fn new(authorities: Authorities, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self {
            authorities,
            algorithms,
        }
    }

    /// Verifies the certificate of a server. With `None` as `host`, the certificate may be for any host.
    pub(super) fn verify_server(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        host: Option<&ServerName<'_>>,
    ) -> Result<(), Error> {
        self.verify(
            Role::Server,
            certificate,
            |leaf, algorithms, authorities| {
                let usage = KeyUsage::server_auth();
                leaf.verify_for_usage(
                    algorithms,
                    authorities,
                    intermediates,
                    now,
                    usage,
                    None,
                    None,
                )?;
                match host {
                    Some(host) => leaf.verify_is_valid_for_subject_name(host),
                    None => Ok(()),
                }
            },
        )
    }

    /// Verifies the certificate of a client.
    pub(super) fn verify_client(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        revocation: Option<RevocationOptions<'_>>,
    ) -> Result<(), Error> {
        self.verify(
            Role::Client,
            certificate,
            |leaf, algorithms, authorities| {
                let usage = KeyUsage::client_auth();
                let path = leaf.verify_for_usage(
                    algorithms,
                    authorities,
                    intermediates,
                    now,
                    usage,
                    revocation,
                    None,
                );
                path.map(|_| ())
            },
        )
    }

    /// Verifies a certificate with `check`: first the rewritten form of a legacy certificate, then the original.
    fn verify(
        &self,
        role: Role,
        certificate: &CertificateDer<'_>,
        check: impl Fn(
            &EndEntityCert<'_>,
            &[&dyn SignatureVerificationAlgorithm],
            &[TrustAnchor<'_>],
        ) -> Result<(), webpki::Error>,
    ) -> Result<(), Error> {
        if let Some(legacy) = LegacyCertificate::read(certificate, role) {
            // Each algorithm is wrapped, so that webpki verifies the issuer's signature over the original bytes.
            let algorithms = self.algorithms();
            let algorithms = algorithms.map(|algorithm| legacy.over_original(algorithm));
            let algorithms: Vec<_> = algorithms.collect();
            let algorithms = algorithms.iter().map(|algorithm| algorithm as _);
            let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = algorithms.collect();
            let result = EndEntityCert::try_from(legacy.readable())
                .and_then(|leaf| check(&leaf, &algorithms, self.authorities.named()));
            match result {
                // The rewritten certificate does not have CA:TRUE, so webpki does not make this check.
                Ok(()) if !legacy.may_sign_handshakes() => {
                    return Err(CertificateError::InvalidPurpose.into());
                }
                // The operating system's authorities may have issued the certificate, but they must not issue legacy
                // ones. webpki verifies the original certificate below.
                Err(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey)
                    if self.authorities.has_others() => {}
                result => return result.map_err(tls_error),
            }
        }
        let algorithms: Vec<&dyn SignatureVerificationAlgorithm> =
            self.algorithms().map(|algorithm| algorithm as _).collect();
        EndEntityCert::try_from(certificate)
            .and_then(|leaf| check(&leaf, &algorithms, self.authorities.all()))
            .map_err(tls_error)
    }

    /// Returns the algorithms with which an authority may sign certificates.
    fn algorithms(&self) -> impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm> {
        let more = curves::MORE.all.iter();
        self.algorithms.all.iter().chain(more).copied()
    }

    /// Returns the set of algorithms that contains this signature scheme.
    fn algorithms_of(&self, scheme: SignatureScheme) -> &WebPkiSupportedAlgorithms {
        let more = &curves::MORE;
        if more.mapping.iter().any(|(known, _)| *known == scheme) {
            more
        } else {
            &self.algorithms
        }
    }

    /// Verifies a signature in a TLS 1.2 handshake.
    pub(super) fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        with_readable(certificate, |certificate| {
            let algorithms = self.algorithms_of(signature.scheme);
            verify_tls12_signature(message, certificate, signature, algorithms)
        })
    }

    /// Verifies a signature in a TLS 1.3 handshake.
    pub(super) fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        with_readable(certificate, |certificate| {
            let algorithms = self.algorithms_of(signature.scheme);
            verify_tls13_signature(message, certificate, signature, algorithms)
        })
    }

    /// Returns the algorithms with which a peer may sign handshakes.
    pub(super) fn supported_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.algorithms.supported_schemes();
        schemes.extend(curves::MORE.supported_schemes());
        schemes
    }
}

/// Calls `verify` with a form of the certificate that webpki can parse. Any role gives the same key, so the role does
/// not matter.
fn with_readable<T>(
    certificate: &CertificateDer<'_>,
    verify: impl FnOnce(&CertificateDer<'_>) -> T,
) -> T {
    match LegacyCertificate::read(certificate, Role::Client) {
        Some(legacy) => verify(legacy.readable()),
        None => verify(certificate),
    }
}

/// Implements the methods of rustls's verifier traits for signatures in handshakes. Clients and servers have the same
/// methods.
macro_rules! handshake_signatures {
    ($path:ident) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.$path
                .verify_tls12_signature(message, certificate, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.$path
                .verify_tls13_signature(message, certificate, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.$path.supported_schemes()
        }
    };
}

pub(super) use handshake_signatures;

/// Converts an error of webpki. Each reason keeps its own error, because rustls chooses the alert for the peer by it.
fn tls_error(error: webpki::Error) -> Error {
    use webpki::Error as E;
    let error = match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::InvalidCertValidity => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::CertNotValidForName(names) => CertificateError::NotValidForNameContext {
            expected: names.expected,
            presented: names.presented,
        },
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }
        }
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        E::UnsupportedSignatureAlgorithmContext(context) => {
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: context.signature_algorithm_id,
                supported_algorithms: context.supported_algorithms,
            }
        }
        E::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: context.signature_algorithm_id,
                public_key_algorithm_id: context.public_key_algorithm_id,
            }
        }
        error => CertificateError::Other(OtherError(Arc::new(error))),
    };
    error.into()
}
