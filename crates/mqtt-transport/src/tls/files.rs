//! Reads certificates, keys and revocation lists from PEM files.

use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Reader, SliceReader, Tag, Tagged};

use super::error::TlsSetupError;

/// Reads all certificates in a file. The first one is the certificate of the owner.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let text = text(path)?;
    let all: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| malformed(path, error, "certificate"))?;
    let all = not_empty(path, all, "certificate")?;
    let restricted = || TlsSetupError::RestrictedAuthority(path.to_owned());
    let all = all
        .into_iter()
        .map(|der| without_trust(der).ok_or_else(restricted));
    all.collect()
}

/// Reads the private key in a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    let text = text(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        // The parser does not recognise encrypted keys, so its error would not name this cause.
        let is_encrypted = text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED);
        if is_encrypted {
            TlsSetupError::EncryptedKey(path.to_owned())
        } else {
            malformed(path, error, "private key")
        }
    })
}

/// Reads the revocation lists in a file.
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

/// Reads the authorities in a file, and those in all files of a folder.
pub(super) fn authorities(
    file: Option<&Path>,
    folder: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let is_authority =
        |certificate: &CertificateDer<'_>| webpki::anchor_from_trusted_cert(certificate).is_ok();
    let mut all = Vec::new();
    if let Some(file) = file {
        all = certificates(file)?;
        // The user has configured this file, so a certificate that cannot be used is an error.
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
            // A folder may contain other files, such as keys. It may also contain links of 'openssl rehash' to its own
            // files, so duplicates are skipped.
            for certificate in certificates(&path).unwrap_or_default() {
                if is_authority(&certificate) && !all.contains(&certificate) {
                    all.push(certificate);
                }
            }
        }
    }
    Ok(all)
}

/// Reads a PEM file as OpenSSL does. Editors on Windows may write a byte order mark before a line. The label of a
/// certificate may be one of those in [`LABELS`].
fn text(path: &Path) -> Result<Vec<u8>, TlsSetupError> {
    let text = std::fs::read(path).map_err(|error| TlsSetupError::Read(path.to_owned(), error))?;
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        let label = LABELS.iter().find(|(theirs, _)| line.starts_with(theirs));
        label.map_or(line, |(_, ours)| *ours)
    });
    Ok(lines.collect::<Vec<_>>().concat())
}

/// Labels of certificates that the parser does not accept, each with its replacement.
const LABELS: [(&[u8], &[u8]); 4] = [
    (b"-----BEGIN TRUSTED CERTIFICATE-----", BEGIN),
    (b"-----END TRUSTED CERTIFICATE-----", END),
    (b"-----BEGIN X509 CERTIFICATE-----", BEGIN),
    (b"-----END X509 CERTIFICATE-----", END),
];

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----\n";
const END: &[u8] = b"-----END CERTIFICATE-----\n";
const ENCRYPTED: &[u8] = b"ENCRYPTED";
const LIST: &str = "list of revoked certificates";

/// Removes the data that OpenSSL appends to a certificate with the label TRUSTED CERTIFICATE: a name, and the uses for
/// which the certificate is trusted. Returns `None` if the uses are restricted. The verifier cannot apply this
/// restriction, and must not trust the certificate for all uses instead.
fn without_trust(certificate: CertificateDer<'static>) -> Option<CertificateDer<'static>> {
    let Ok((length, trust)) = split(&certificate) else {
        return Some(certificate); // The verifier reports a malformed certificate.
    };
    if trust.is_empty() {
        return Some(certificate);
    }
    let trust = AnyRef::from_der(trust).ok()?;
    // The lists of uses come first in the appended data, so the first tag shows whether a list exists. Data in an
    // unknown format may contain a restriction too.
    let limits_uses = matches!(trust.value().first(), Some(&(TRUSTED_USES | REJECTED_USES)));
    let is_limited = trust.tag() != Tag::Sequence || limits_uses;
    (!is_limited).then(|| {
        certificate
            .get(..length)
            .unwrap_or_default()
            .to_vec()
            .into()
    })
}

/// Returns the length of the first DER element, and the bytes after it.
fn split(bytes: &[u8]) -> x509_cert::der::Result<(usize, &[u8])> {
    let mut reader = SliceReader::new(bytes)?;
    let length = reader.tlv_bytes()?.len();
    Ok((length, bytes.get(length..).unwrap_or_default()))
}

// DER tags of the two lists of uses in the appended data.
const TRUSTED_USES: u8 = 0x30;
const REJECTED_USES: u8 = 0xA0;

fn not_empty<T>(path: &Path, all: Vec<T>, what: &'static str) -> Result<Vec<T>, TlsSetupError> {
    if all.is_empty() {
        Err(TlsSetupError::Malformed(path.to_owned(), what))
    } else {
        Ok(all)
    }
}

fn malformed(path: &Path, error: Error, what: &'static str) -> TlsSetupError {
    match error {
        Error::Io(error) => TlsSetupError::Read(path.to_owned(), error),
        _ => TlsSetupError::Malformed(path.to_owned(), what),
    }
}
