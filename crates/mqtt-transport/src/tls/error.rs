//! What goes wrong with TLS, in words that say what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, SliceReader};

use super::revocation::RevocationError;

/// Why a TLS connection failed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TlsError {
    /// The handshake, or a record, was not right.
    Rustls(rustls::Error),
    /// The stream ended without the peer's good-bye: something may be missing.
    Truncated,
    /// Plain bytes were sent, and the answer is one of TLS.
    Expected,
    /// The client's certificate is revoked, by a list in this file.
    Revoked(Arc<Path>),
    /// No authority that the server trusts has signed the client's certificate.
    UnknownClientIssuer,
}

impl TlsError {
    /// Whether plain bytes were answered with an alert of TLS.
    pub fn is_alert(bytes: &[u8]) -> bool {
        matches!(bytes, [0x15, 0x03, 0..=4, 0, 2, ..])
    }
}

/// Why TLS cannot be set up: files and options.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsSetupError {
    /// A certificate of this end that cannot be read.
    Certificate(PathBuf, webpki::Error),
    /// None of the cipher suites is known.
    Ciphers(String),
    /// A private key that needs a password.
    EncryptedKey(PathBuf),
    /// A key that cannot be used, with the name of its algorithm unless it is malformed.
    Key(PathBuf, Option<String>),
    /// A file that is not what it should be.
    Malformed(PathBuf, &'static str),
    /// A file or folder that cannot be read.
    Read(PathBuf, io::Error),
    /// A key that belongs to another certificate.
    OtherKey {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// An authority that is trusted for some uses only.
    RestrictedAuthority(PathBuf),
    /// No certificate authority is known.
    NoAuthorities,
    /// A server that requires certificates of its clients knows no authority.
    NoClientAuthorities,
    /// A list of revoked certificates that cannot be used.
    RevocationList(PathBuf, webpki::Error),
    /// Something else that rustls refuses.
    Rustls(rustls::Error),
    /// A host that no certificate can have.
    ServerName(String),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match error {
            TlsError::Rustls(_)
            | TlsError::Expected
            | TlsError::Revoked(_)
            | TlsError::UnknownClientIssuer => io::ErrorKind::InvalidData,
            TlsError::Truncated => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}

impl std::error::Error for TlsError {}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Truncated => return f.write_str("the encrypted stream was cut off"),
            Self::Expected => {
                return f.write_str(
                    "the other side speaks TLS at this port (--cafile or --tls-use-os-certs)",
                );
            }
            Self::Revoked(file) => {
                let file = file.display();
                return write!(
                    f,
                    "the certificate has been revoked, by the list in '{file}'"
                );
            }
            Self::UnknownClientIssuer => {
                return f.write_str(
                    "no authority that is trusted here has signed the client's certificate (cafile or capath \
                     must have its authority)",
                );
            }
            Self::Rustls(error) => error,
        };
        match error {
            rustls::Error::InvalidCertificate(error) => certificate(f, error),
            rustls::Error::AlertReceived(alert) => alert_received(f, *alert),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                f.write_str("the other side does not speak TLS at this port")
            }
            rustls::Error::NoCertificatesPresented => {
                f.write_str("the client has shown no certificate, and one is required")
            }
            rustls::Error::PeerIncompatible(what) => {
                let what = words(what);
                write!(
                    f,
                    "the other side offers no version or cipher suite in common ({what})"
                )
            }
            rustls::Error::PeerMisbehaved(what) => {
                write!(f, "the other side broke the rules of TLS ({})", words(what))
            }
            rustls::Error::InvalidMessage(what) => {
                write!(
                    f,
                    "the other side sent an invalid message ({})",
                    words(what)
                )
            }
            error => write!(f, "TLS failed ({})", words(error)),
        }
    }
}

fn certificate(f: &mut fmt::Formatter<'_>, error: &CertificateError) -> fmt::Result {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            f.write_str("the certificate has expired")?;
            if let CertificateError::ExpiredContext { time, not_after } = error {
                let days = (time.as_secs().saturating_sub(not_after.as_secs())) / 86400;
                write!(f, " {days} days ago")?;
            }
            f.write_str("; if not, see whether the clock of this machine is right")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            f.write_str("the certificate is not valid yet")?;
            if let CertificateError::NotValidYetContext { time, not_before } = error {
                let days = not_before.as_secs().saturating_sub(time.as_secs()) / 86400;
                write!(f, ", but in {days} days")?;
            }
            f.write_str("; see whether the clock of this machine is right")
        }
        CertificateError::Revoked => f.write_str("the certificate has been revoked"),
        CertificateError::UnknownIssuer => unknown_issuer(f),
        CertificateError::NotValidForName => f.write_str("the certificate is for another host"),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            if presented.is_empty() {
                let expected = expected.to_str();
                return write!(f, "the certificate is not for {expected}: it names no host");
            }
            let presented: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            let presented = presented.join(", ");
            let expected = expected.to_str();
            write!(
                f,
                "the certificate is not for {expected}, but for {presented}"
            )
        }
        CertificateError::BadEncoding => f.write_str("the certificate is malformed"),
        CertificateError::BadSignature => f.write_str(
            "the signature of the certificate is wrong, or made with an RSA key of fewer than 2048 bits",
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => f
            .write_str(
                "the certificate is for other purposes (see its keyUsage and extendedKeyUsage)",
            ),
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: algorithm,
            ..
        } => {
            let algorithm = Algorithm(algorithm);
            write!(f, "the certificate is signed with {algorithm}, which is not supported")
        }
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            public_key_algorithm_id: algorithm,
            ..
        } => {
            let algorithm = Algorithm(algorithm);
            write!(f, "the certificate is signed by a key of {algorithm}, which is not supported")
        }
        CertificateError::Other(error) => {
            if let Some(error) = error.0.downcast_ref::<RevocationError>() {
                return write!(f, "{error}");
            }
            match error.0.downcast_ref() {
                Some(error) => write!(f, "the certificate {}", Problem(error)),
                None => f.write_str("the certificate is not accepted"),
            }
        }
        error => write!(f, "the certificate is not accepted ({})", words(error)),
    }
}

/// The words of a variant's name: `HandshakeNotComplete` becomes `handshake not complete`. Its fields are left out.
fn words(error: &impl fmt::Debug) -> String {
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

/// The reason why webpki rejects a certificate or a revocation list, as the end of a sentence about it.
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
                "is signed by more authorities, one under the other, than one of them allows (pathlen)"
            }
            E::NameConstraintViolation => {
                "has a name for which its authority may not sign (nameConstraints)"
            }
            E::UnsupportedCriticalExtension => "has a critical extension that is not supported",
            E::MalformedExtensions | E::ExtensionValueInvalid => "has malformed extensions",
            E::SignatureAlgorithmMismatch => "names two signature algorithms",
            E::InvalidCrlSignatureForPublicKey => "is not signed by the authority that it names",
            E::IssuerNotCrlSigner => {
                "is of an authority that may not sign such lists (its keyUsage has no cRLSign)"
            }
            E::UnsupportedCrlVersion => {
                "is of version 1 (write one of version 2, with 'openssl ca -gencrl -crlexts SECTION')"
            }
            E::UnsupportedDeltaCrl => "has changes to another list only",
            E::UnsupportedIndirectCrl => "is about certificates of other authorities",
            error => return write!(f, "is not supported ({})", words(error)),
        })
    }
}

/// The name of an algorithm, whose identifier is in DER.
pub(super) struct Algorithm<'a>(pub(super) &'a [u8]);

impl Algorithm<'_> {
    /// Returns `true` for RSA keys, which are supported in some sizes only.
    pub(super) fn is_rsa(&self) -> bool {
        self.identifiers().first().is_some_and(|id| id == RSA)
    }

    /// Returns the identifiers of the algorithm and of its curve, if it has one.
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
        // The name of a curve says more than that there is one.
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

/// A name of a certificate without what rustls writes around it: `DnsName("example.org")`.
fn plain_name(name: &str) -> &str {
    let quoted = name.strip_prefix("DnsName(\"");
    quoted
        .and_then(|quoted| quoted.strip_suffix("\")"))
        .unwrap_or(name)
}

fn unknown_issuer(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(
        "the certificate is signed by nobody who is trusted here, perhaps by itself; the authority's \
         certificate is what --cafile wants",
    )
}

fn alert_received(f: &mut fmt::Formatter<'_>, alert: AlertDescription) -> fmt::Result {
    let what = match alert {
        AlertDescription::CertificateRequired => {
            "it wants a certificate of this client (--cert and --key)"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => "it does not accept this certificate",
        AlertDescription::CertificateExpired => "it says that this certificate has expired",
        AlertDescription::CertificateRevoked => "it says that this certificate has been revoked",
        AlertDescription::UnknownCA => "it does not know who signed this certificate",
        AlertDescription::ProtocolVersion => "it speaks no version of TLS in common",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it has no cipher suite in common, or wants a certificate, or its own has a key that is not supported here \
             (such as ECDSA on the curve P-521, or RSA-PSS)"
        }
        AlertDescription::NoApplicationProtocol => "it does not know the protocol of --tls-alpn",
        AlertDescription::Unknown(number) => {
            return write!(f, "the other side has ended the handshake (alert {number})");
        }
        alert => {
            let alert = words(&alert);
            return write!(f, "the other side has ended the handshake ({alert})");
        }
    };
    write!(f, "the other side has ended the handshake: {what}")
}

impl fmt::Display for TlsSetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(path, error) => {
                let path = path.display();
                write!(f, "the certificate in '{path}' {}", Problem(error))
            }
            Self::Ciphers(list) => write!(
                f,
                "no cipher suite of '{list}' is known (DEFAULT and 'ECDHE+AESGCM' name some that are)"
            ),
            Self::EncryptedKey(path) => {
                let path = path.display();
                write!(
                    f,
                    "the key in '{path}' is encrypted; 'openssl pkey -in {path} -out NEW' writes one \
                     that is not"
                )
            }
            Self::Key(path, None) => write!(f, "the key in '{}' is malformed", path.display()),
            Self::Key(path, Some(algorithm)) => {
                let path = path.display();
                write!(
                    f,
                    "the key in '{path}' cannot be used: {algorithm} is not supported (make one with 'openssl genpkey \
                     -algorithm EC -pkeyopt ec_paramgen_curve:P-256', and a certificate for it)"
                )
            }
            Self::OtherKey { key, certificate } => {
                let (key, certificate) = (key.display(), certificate.display());
                write!(f, "the key in '{key}' is not that of the certificate in '{certificate}'")
            }
            Self::RestrictedAuthority(path) => {
                let path = path.display();
                write!(
                    f,
                    "a certificate in '{path}' is trusted for some uses only, which is not supported \
                     ('openssl x509 -in {path} -out NEW' trusts it for all)"
                )
            }
            Self::Malformed(path, what) => {
                write!(f, "there is no {what} in PEM form in '{}'", path.display())
            }
            Self::Read(path, error) => write!(f, "cannot read '{}': {error}", path.display()),
            Self::NoAuthorities => f.write_str(
                "this system has no list of trusted authorities; name one with --cafile",
            ),
            Self::NoClientAuthorities => f.write_str(
                "certificates of clients cannot be verified: cafile or capath must have their authority",
            ),
            Self::RevocationList(path, error) => {
                let path = path.display();
                let problem = Problem(error);
                write!(f, "the list of revoked certificates in '{path}' cannot be used: it {problem}")
            }
            Self::Rustls(error) => write!(f, "TLS cannot be set up ({})", words(error)),
            Self::ServerName(host) => write!(f, "no certificate can be for '{host}'"),
        }
    }
}

impl std::error::Error for TlsSetupError {}
