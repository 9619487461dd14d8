//! Certificates and keys, from files in PEM form.

use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::TlsSetupError;

/// Reads all certificates of a file; its own one comes first.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let text = text(path)?;
    let all: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| malformed(path, error, "certificate"))?;
    not_empty(path, all, "certificate")
}

/// Reads the private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    let text = text(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let is_encrypted = text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED);
        match is_encrypted {
            true => TlsSetupError::EncryptedKey(path.to_owned()),
            false => malformed(path, error, "private key"),
        }
    })
}

/// Reads the lists of revoked certificates of a file.
pub(super) fn revoked(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsSetupError> {
    let text = text(path)?;
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    not_empty(
        path,
        all.map_err(|error| malformed(path, error, LIST))?,
        LIST,
    )
}

/// Reads the authorities of a file, and of each file of a folder that has some.
pub(super) fn authorities(
    file: Option<&Path>,
    folder: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let is_authority =
        |certificate: &CertificateDer<'_>| webpki::anchor_from_trusted_cert(certificate).is_ok();
    let mut all = Vec::new();
    if let Some(file) = file {
        all = certificates(file)?;
        if !all.iter().all(is_authority) {
            return Err(TlsSetupError::Malformed(file.to_owned(), "certificate"));
        }
    }
    if let Some(folder) = folder {
        let fail = |error| TlsSetupError::Read(folder.to_owned(), error);
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if !path.is_file() {
                continue;
            }
            // A folder may have anything: keys, and links of 'openssl rehash' to certificates that it has too.
            for certificate in certificates(&path).unwrap_or_default() {
                if is_authority(&certificate) && !all.contains(&certificate) {
                    all.push(certificate);
                }
            }
        }
    }
    Ok(all)
}

/// Reads a file.
fn text(path: &Path) -> Result<Vec<u8>, TlsSetupError> {
    std::fs::read(path).map_err(|error| TlsSetupError::Read(path.to_owned(), error))
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";
const LIST: &str = "list of revoked certificates";

fn not_empty<T>(path: &Path, all: Vec<T>, what: &'static str) -> Result<Vec<T>, TlsSetupError> {
    match all.is_empty() {
        true => Err(TlsSetupError::Malformed(path.to_owned(), what)),
        false => Ok(all),
    }
}

fn malformed(path: &Path, error: Error, what: &'static str) -> TlsSetupError {
    match error {
        Error::Io(error) => TlsSetupError::Read(path.to_owned(), error),
        _ => TlsSetupError::Malformed(path.to_owned(), what),
    }
}
