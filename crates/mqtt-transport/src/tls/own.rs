//! The certificate that an end shows, its key, and what is old about it.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;
use x509_cert::der::asn1::{AnyRef, UintRef};
use x509_cert::der::{Decode, SliceReader};

use super::error::Algorithm;
use super::legacy::{LegacyCertificate, Outdated, Role};
use super::{TlsSetupError, files};

/// The certificate and key of this end.
#[derive(Debug)]
pub(super) struct OwnCertificate {
    pub(super) certified: Arc<CertifiedKey>,
    /// What is old about the certificate.
    outdated: Option<Outdated>,
}

impl OwnCertificate {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub(super) fn read(
        certificate: &Path,
        key: &Path,
        role: Role,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsSetupError> {
        let chain = files::certificates(certificate)?;
        let own = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
        let legacy = LegacyCertificate::read(&own, role);
        let readable = legacy.as_ref().map_or(&own, LegacyCertificate::readable);
        let public_key = EndEntityCert::try_from(readable)
            .map_err(|error| TlsSetupError::Certificate(certificate.to_owned(), error))?
            .subject_public_key_info();
        let private_key = files::key(key)?;
        let algorithm = algorithm(&private_key);
        let signing_key = provider.key_provider.load_private_key(private_key);
        let signing_key = signing_key.map_err(|_| TlsSetupError::Key(key.to_owned(), algorithm))?;
        if signing_key
            .public_key()
            .is_some_and(|own| own != public_key)
        {
            let (key, certificate) = (key.to_owned(), certificate.to_owned());
            return Err(TlsSetupError::OtherKey { key, certificate });
        }
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, signing_key)),
            outdated: legacy.map(|legacy| legacy.outdated()),
        })
    }

    /// Returns a line about what is old about the certificate of this file.
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
            match name.is_rsa() {
                true => rsa(key.value())?,
                false => name.to_string(),
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
