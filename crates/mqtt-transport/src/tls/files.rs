//! Certificates and keys, from files in PEM form.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::TlsSetupError;

/// All certificates of a file, its own first.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let fail = |error| read(path, error, "certificate");
    let all = CertificateDer::pem_file_iter(path).map_err(fail)?;
    let all: Result<Vec<_>, _> = all.collect();
    not_empty(path, all.map_err(fail)?, "certificate")
}

/// The private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        match text.contains("ENCRYPTED") {
            true => TlsSetupError::EncryptedKey(path.to_owned()),
            false => match error {
                Error::Io(error) => TlsSetupError::Read(path.to_owned(), error),
                _ => TlsSetupError::Malformed(path.to_owned(), "private key"),
            },
        }
    })
}

/// The lists of revoked certificates of a file.
pub(super) fn revoked(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsSetupError> {
    let all = CertificateRevocationListDer::pem_file_iter(path)
        .map_err(|error| read(path, error, LIST))?;
    let all: Result<Vec<_>, _> = all.collect();
    not_empty(path, all.map_err(|error| read(path, error, LIST))?, LIST)
}

/// Adds what a file, or each file of a folder, has.
pub(super) fn add_authorities(
    roots: &mut RootCertStore,
    file: Option<&Path>,
    folder: Option<&Path>,
) -> Result<(), TlsSetupError> {
    if let Some(file) = file {
        for certificate in certificates(file)? {
            let added = roots.add(certificate);
            added.map_err(|_| TlsSetupError::Malformed(file.to_owned(), "certificate"))?;
        }
    }
    if let Some(folder) = folder {
        let entries = std::fs::read_dir(folder);
        entries.map_err(|error| TlsSetupError::Read(folder.to_owned(), error))?;
        let found = rustls_native_certs::load_certs_from_paths(None, Some(folder));
        roots.add_parsable_certificates(found.certs);
    }
    Ok(())
}

fn not_empty<T>(path: &Path, all: Vec<T>, what: &'static str) -> Result<Vec<T>, TlsSetupError> {
    match all.is_empty() {
        true => Err(TlsSetupError::Malformed(path.to_owned(), what)),
        false => Ok(all),
    }
}

fn read(path: &Path, error: Error, what: &'static str) -> TlsSetupError {
    match error {
        Error::Io(error) => TlsSetupError::Read(path.to_owned(), error),
        _ => TlsSetupError::Malformed(path.to_owned(), what),
    }
}

const LIST: &str = "list of revoked certificates";
