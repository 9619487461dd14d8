//! The certificate that this end shows to its peers, with its key and the intermediate certificates.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, RawPublicKeyEntity};
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, UintRef};
use x509_cert::der::{Decode, Encode, SliceReader};

use super::curves;
use super::error::TlsSetupError;
use super::files;
use super::legacy::{self, LegacyCertificate, Outdated, Role};
use super::words::Algorithm;

/// Maximum number of certificates that are added to a chain, as webpki follows no more.
const MAXIMUM_ADDED: usize = 6;

/// The certificate and key of this end.
#[derive(Debug)]
pub(super) struct OwnCertificate {
    pub(super) certified: Arc<CertifiedKey>,
    /// The properties that make the certificate a legacy one, if it is one.
    outdated: Option<Outdated>,
}

impl OwnCertificate {
    /// Reads a certificate and its key. Missing intermediate certificates are taken from `named`, the certificates of
    /// `cafile` and `capath`, as OpenSSL does: certbot writes them to a file of their own.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub(super) fn read(
        certificate: &Path,
        key: &Path,
        named: &[CertificateDer<'static>],
        role: Role,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsSetupError> {
        let mut chain = files::certificates(certificate)?;
        let own = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
        let legacy = LegacyCertificate::read(&own, role);
        let readable = legacy.as_ref().map_or(&own, LegacyCertificate::readable);
        let public_key = EndEntityCert::try_from(readable)
            .map_err(|error| TlsSetupError::Certificate(certificate.to_owned(), error))?
            .subject_public_key_info();
        let private_key = files::key(key)?;
        let algorithm = algorithm(&private_key);
        // The provider consumes the key, so its algorithm for the error message is read before.
        let signing_key = provider.key_provider.load_private_key(private_key);
        let signing_key = signing_key.map_err(|_| TlsSetupError::Key(key.to_owned(), algorithm))?;
        // The peer would only report a failed handshake, so a wrong key is found at the start.
        if signing_key
            .public_key()
            .is_some_and(|own| own != public_key)
        {
            let (key, certificate) = (key.to_owned(), certificate.to_owned());
            return Err(TlsSetupError::OtherKey { key, certificate });
        }
        // A peer that has only the root could not verify the certificate without the intermediate ones.
        complete(&mut chain, named, provider);
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, signing_key)),
            outdated: legacy.map(|legacy| legacy.outdated()),
        })
    }

    /// Returns a warning if the certificate, which was read from `file`, is a legacy one.
    pub(super) fn warning(&self, file: &Path) -> Option<String> {
        let outdated = self.outdated?;
        let file = file.display();
        Some(format!("the certificate in '{file}' {outdated}"))
    }
}

/// Returns the name of the algorithm of a key; `None` if the key is malformed.
fn algorithm(key: &PrivateKeyDer<'_>) -> Option<String> {
    let algorithm = match key {
        PrivateKeyDer::Pkcs8(key) => {
            let [_, algorithm, key] = elements(key.secret_pkcs8_der())?;
            let name = Algorithm(algorithm.value());
            if name.is_rsa() {
                rsa(key.value())?
            } else {
                name.to_string()
            }
        }
        PrivateKeyDer::Sec1(key) => {
            let [_, _, curve] = elements(key.secret_sec1_der())?;
            Algorithm(curve.value()).to_string()
        }
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der())?,
        _ => return None,
    };
    Some(algorithm)
}

/// Returns the name of an RSA key.
fn rsa(key: &[u8]) -> Option<String> {
    let [_, modulus] = elements(key)?;
    let modulus = UintRef::try_from(modulus).ok()?;
    Some(format!("RSA of {} bits", modulus.as_bytes().len() * 8))
}

/// Returns the first elements of a sequence.
fn elements<const N: usize>(sequence: &[u8]) -> Option<[AnyRef<'_>; N]> {
    let sequence = AnyRef::from_der(sequence).ok()?;
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    let mut elements = [AnyRef::NULL; N];
    for element in &mut elements {
        *element = AnyRef::decode(&mut reader).ok()?;
    }
    Some(elements)
}

/// Adds the issuers of the last certificate that are in `pool`, except the authority at the end, which the peer has.
fn complete(
    chain: &mut Vec<CertificateDer<'static>>,
    pool: &[CertificateDer<'static>],
    provider: &CryptoProvider,
) {
    for _ in 0..MAXIMUM_ADDED {
        let issuer = chain.last().and_then(|last| issuer(last, pool, provider));
        match issuer {
            // Certificates that sign each other must not make the chain endless.
            Some(issuer) if !chain.contains(issuer) && !is_self_issued(issuer) => {
                chain.push(issuer.clone());
            }
            _ => return,
        }
    }
}

/// Returns the certificate of `pool` that has signed this one. Names alone do not tell: an authority that renews its
/// key keeps its name.
fn issuer<'a>(
    certificate: &CertificateDer<'_>,
    pool: &'a [CertificateDer<'static>],
    provider: &CryptoProvider,
) -> Option<&'a CertificateDer<'static>> {
    let signed = legacy::signed_part(certificate)?;
    let certificate = Certificate::from_der(certificate).ok()?;
    let signature = certificate.signature.as_bytes()?;
    let has_signed = |candidate: Certificate| {
        let candidate = candidate.tbs_certificate;
        let key = candidate.subject_public_key_info.to_der().ok()?;
        let key = SubjectPublicKeyInfoDer::from(key);
        let key = RawPublicKeyEntity::try_from(&key).ok()?;
        let algorithms = provider.signature_verification_algorithms.all.iter();
        let mut algorithms = algorithms.chain(curves::MORE.all);
        let is_signature =
            algorithms.any(|algorithm| key.verify_signature(*algorithm, signed, signature).is_ok());
        Some(is_signature && candidate.subject == certificate.tbs_certificate.issuer)
    };
    pool.iter().find(|candidate| {
        let candidate = Certificate::from_der(candidate).ok();
        candidate.and_then(has_signed).unwrap_or(false)
    })
}

fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    Certificate::from_der(certificate)
        .is_ok_and(|it| it.tbs_certificate.subject == it.tbs_certificate.issuer)
}
