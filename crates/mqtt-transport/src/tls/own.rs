//! [`OwnCertificate`] is the certificate that this end sends to its peers, with the key and the intermediate
//! certificates.

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

/// Maximum number of intermediate certificates that are added to a chain. webpki does not follow longer chains.
const MAXIMUM_ADDED: usize = 6;

/// Certificate and key of this end.
#[derive(Debug)]
pub(super) struct OwnCertificate {
    pub(super) certified: Arc<CertifiedKey>,
    /// Properties that make the certificate a legacy one. `None` for other certificates.
    outdated: Option<Outdated>,
}

impl OwnCertificate {
    /// Reads a certificate and its key. Missing intermediate certificates are added from `named`, the certificates of
    /// `cafile` and `capath`, as OpenSSL does: certbot, for example, writes them to a separate file.
    ///
    /// # Errors
    /// Returns an error if a file cannot be used.
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
        // `load_private_key` consumes the key. The error message needs the name of its algorithm, which is read before.
        let signing_key = provider.key_provider.load_private_key(private_key);
        let signing_key = signing_key.map_err(|_| TlsSetupError::Key(key.to_owned(), algorithm))?;
        // A wrong key is detected at the start, because later the peer would report only a failed handshake.
        if signing_key
            .public_key()
            .is_some_and(|own| own != public_key)
        {
            let (key, certificate) = (key.to_owned(), certificate.to_owned());
            return Err(TlsSetupError::OtherKey { key, certificate });
        }
        // A peer that has only the root certificate cannot verify a chain without the intermediate certificates.
        complete(&mut chain, named, provider);
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, signing_key)),
            outdated: legacy.map(|legacy| legacy.outdated()),
        })
    }

    /// Returns a warning if the certificate is a legacy one. `file` is the file of the certificate.
    pub(super) fn warning(&self, file: &Path) -> Option<String> {
        let outdated = self.outdated?;
        let file = file.display();
        Some(format!("the certificate in '{file}' {outdated}"))
    }
}

/// Returns the name of the algorithm of a key, or `None` if the key is malformed.
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

/// Returns the description of an RSA key with its size.
fn rsa(key: &[u8]) -> Option<String> {
    let [_, modulus] = elements(key)?;
    let modulus = UintRef::try_from(modulus).ok()?;
    Some(format!("RSA of {} bits", modulus.as_bytes().len() * 8))
}

/// Returns the first `N` elements of a DER sequence.
fn elements<const N: usize>(sequence: &[u8]) -> Option<[AnyRef<'_>; N]> {
    let sequence = AnyRef::from_der(sequence).ok()?;
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    let mut elements = [AnyRef::NULL; N];
    for element in &mut elements {
        *element = AnyRef::decode(&mut reader).ok()?;
    }
    Some(elements)
}

/// Appends the issuers of the last certificate in the chain, as far as `pool` contains them. The root is not appended,
/// because the peer has it.
fn complete(
    chain: &mut Vec<CertificateDer<'static>>,
    pool: &[CertificateDer<'static>],
    provider: &CryptoProvider,
) {
    for _ in 0..MAXIMUM_ADDED {
        let issuer = chain.last().and_then(|last| issuer(last, pool, provider));
        match issuer {
            // Certificates that have signed each other must not make the chain endless.
            Some(issuer) if !chain.contains(issuer) && !is_self_issued(issuer) => {
                chain.push(issuer.clone());
            }
            _ => return,
        }
    }
}

/// Returns the certificate in `pool` that has signed this one. Comparing names is not enough: an authority that renews
/// its key keeps its name.
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
