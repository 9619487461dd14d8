//! Texts for errors of the TLS libraries. The libraries themselves provide only names of Rust variants and object
//! identifiers.

use std::fmt;

use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, SliceReader};

/// Returns the name of an enum variant as words, without its fields: `HandshakeNotComplete` becomes
/// `handshake not complete`.
pub(super) fn words(error: &impl fmt::Debug) -> String {
    // rustls implements `Display` for few of its enums. The names of their variants rarely change.
    let text = format!("{error:?}");
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    let mut words = String::new();
    for (index, c) in text.char_indices().take_while(|(index, _)| *index < end) {
        if c.is_ascii_uppercase() && index > 0 {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Reason why webpki rejects a certificate or a revocation list. The display form ends a sentence about that item.
pub(super) struct Problem<'a>(pub(super) &'a webpki::Error);

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use webpki::Error as E;
        f.write_str(match self.0 {
            E::BadDer | E::BadDerTime | E::TrailingData(_) => "is malformed",
            E::UnsupportedCertVersion => {
                "is not of X.509 version 3, which is accepted only if it has no extensions and its authority is \
                 named (--cafile, --capath, cafile, capath)"
            }
            E::CaUsedAsEndEntity => {
                "is marked as an authority (CA:TRUE), which is accepted only if the authority that signed it is \
                 named (--cafile, --capath, cafile, capath)"
            }
            E::EndEntityUsedAsCa => "is signed by a certificate that is not an authority's (CA:FALSE)",
            E::PathLenConstraintViolated => {
                "has a longer chain of authorities than one of them allows (pathlen)"
            }
            E::NameConstraintViolation => {
                "has a name for which its authority may not sign (nameConstraints)"
            }
            E::UnsupportedCriticalExtension => "has a critical extension that is not supported",
            E::MalformedExtensions | E::ExtensionValueInvalid => "has malformed extensions",
            E::SignatureAlgorithmMismatch => "names two different signature algorithms",
            E::InvalidCrlSignatureForPublicKey => "is not signed by the authority that it names",
            E::IssuerNotCrlSigner => {
                "is signed by an authority that may not sign such lists (its keyUsage has no cRLSign)"
            }
            E::UnsupportedCrlVersion => {
                "is of version 1 (write one of version 2, with 'openssl ca -gencrl -crlexts SECTION')"
            }
            E::UnsupportedDeltaCrl => "is a delta list, which is not supported",
            E::UnsupportedIndirectCrl => "is an indirect list, with certificates of other authorities, which is not supported",
            error => return write!(f, "is not supported ({})", words(error)),
        })
    }
}

/// Name of an algorithm. The field is the algorithm identifier in DER.
pub(super) struct Algorithm<'a>(pub(super) &'a [u8]);

impl Algorithm<'_> {
    /// Returns `true` for RSA keys. Only some sizes of them are supported.
    pub(super) fn is_rsa(&self) -> bool {
        self.identifiers().first().is_some_and(|id| id == RSA)
    }

    /// Returns the object identifiers of the algorithm and, if it has one, of its curve.
    fn identifiers(&self) -> Vec<String> {
        let Ok(mut reader) = SliceReader::new(self.0) else {
            return Vec::new();
        };
        let identifiers = std::iter::from_fn(|| ObjectIdentifier::decode(&mut reader).ok());
        identifiers.map(|id| id.to_string()).collect()
    }
}

impl fmt::Display for Algorithm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identifiers = self.identifiers();
        // The identifier of the curve follows that of the algorithm and is more specific, so it is searched first.
        let names = identifiers.iter().rev();
        let name = |id: &String| ALGORITHMS.iter().find(|(known, _)| known == id);
        match (names.filter_map(name).next(), identifiers.first()) {
            (Some((_, name)), _) => f.write_str(name),
            (None, Some(id)) => write!(f, "the algorithm {id}"),
            (None, None) => f.write_str("an unknown algorithm"),
        }
    }
}

const RSA: &str = "1.2.840.113549.1.1.1";

const ALGORITHMS: &[(&str, &str)] = &[
    (RSA, "RSA"),
    ("1.2.840.113549.1.1.4", "RSA and MD5"),
    ("1.2.840.113549.1.1.5", "RSA and SHA-1"),
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.2.840.113549.1.1.14", "RSA and SHA-224"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.2.840.10045.2.1", "ECDSA"),
    ("1.2.840.10045.4.1", "ECDSA and SHA-1"),
    ("1.2.840.10045.4.3.1", "ECDSA and SHA-224"),
    ("1.2.840.10045.4.3.4", "ECDSA and SHA-512"),
    ("1.3.132.0.35", "ECDSA on the curve P-521"),
    ("1.3.132.0.10", "ECDSA on the curve secp256k1"),
    ("1.3.36.3.3.2.8.1.1.7", "ECDSA on the curve brainpoolP256r1"),
    (
        "1.3.36.3.3.2.8.1.1.11",
        "ECDSA on the curve brainpoolP384r1",
    ),
    (
        "1.3.36.3.3.2.8.1.1.13",
        "ECDSA on the curve brainpoolP512r1",
    ),
    ("1.3.101.113", "Ed448"),
];
