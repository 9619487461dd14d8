//! Errors of TLS connections ([`TlsError`]) and of TLS configurations ([`TlsSetupError`]). Their texts say what the
//! user can do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::revocation_error::RevocationError;
use super::words::{Algorithm, Problem, words};
use crate::reason;

/// Reason why a TLS connection failed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TlsError {
    /// rustls reports that the handshake or a record is invalid.
    Rustls(rustls::Error),
    /// The stream ended without `close_notify`, so data may be missing.
    Truncated,
    /// The program sent bytes without TLS, and the peer answered with a TLS alert.
    Expected,
    /// A revocation list in this file revokes the client's certificate.
    Revoked(Arc<Path>),
    /// The client's certificate is not signed by an authority that the server trusts.
    UnknownClientIssuer,
}

impl TlsError {
    /// Returns `true` if the bytes are a TLS alert. A TLS server sends an alert in answer to bytes without TLS.
    pub fn is_alert(bytes: &[u8]) -> bool {
        matches!(bytes, [0x15, 0x03, 0..=4, 0, 2, ..])
    }
}

/// Reason why TLS cannot be configured with the given files and options.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsSetupError {
    /// The file with the program's own certificate cannot be parsed.
    Certificate(PathBuf, webpki::Error),
    /// No cipher suite in this list is supported.
    Ciphers(String),
    /// The private key in this file is encrypted and needs a password.
    EncryptedKey(PathBuf),
    /// The key in this file cannot be used. The second field is the name of its algorithm, or `None` if the key is
    /// malformed.
    Key(PathBuf, Option<String>),
    /// The file contains no item of this kind.
    Malformed(PathBuf, &'static str),
    /// The file or folder cannot be read.
    Read(PathBuf, io::Error),
    /// The key belongs to another certificate.
    OtherKey {
        /// File of the key.
        key: PathBuf,
        /// File of the certificate.
        certificate: PathBuf,
    },
    /// The file has an authority that is trusted for some uses only. Such a restriction is not supported.
    RestrictedAuthority(PathBuf),
    /// The operating system has no list of certificate authorities, and the user has configured none.
    NoAuthorities,
    /// A server must verify certificates of clients, but no authority is configured.
    NoClientAuthorities,
    /// A revocation list in this file cannot be used.
    RevocationList(PathBuf, webpki::Error),
    /// An error of rustls that no other variant names.
    Rustls(rustls::Error),
    /// A certificate cannot contain this host name.
    ServerName(String),
}

impl TlsSetupError {
    /// Returns the file or folder that cannot be used, or `None` if the error does not concern one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Certificate(path, _)
            | Self::EncryptedKey(path)
            | Self::Key(path, _)
            | Self::Malformed(path, _)
            | Self::Read(path, _)
            | Self::OtherKey { key: path, .. }
            | Self::RestrictedAuthority(path)
            | Self::RevocationList(path, _) => Some(path),
            Self::Ciphers(_)
            | Self::NoAuthorities
            | Self::NoClientAuthorities
            | Self::Rustls(_)
            | Self::ServerName(_) => None,
        }
    }
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
            Self::Truncated => {
                return f
                    .write_str("the peer closed the connection without ending TLS (close_notify)");
            }
            Self::Expected => {
                return f.write_str(
                    "the server speaks TLS on this port (use --cafile or --tls-use-os-certs)",
                );
            }
            Self::Revoked(file) => {
                let file = file.display();
                return write!(f, "the certificate is revoked by the list in '{file}'");
            }
            Self::UnknownClientIssuer => {
                return f.write_str(
                    "the client's certificate is not signed by a trusted authority (add its authority to cafile or \
                     capath)",
                );
            }
            Self::Rustls(error) => error,
        };
        match error {
            rustls::Error::InvalidCertificate(error) => certificate(f, error),
            rustls::Error::AlertReceived(alert) => alert_received(f, *alert),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                f.write_str("the peer does not speak TLS on this port")
            }
            rustls::Error::NoCertificatesPresented => {
                f.write_str("the client sent no certificate, but one is required")
            }
            rustls::Error::PeerIncompatible(what) => {
                let what = words(what);
                write!(
                    f,
                    "no TLS version or cipher suite is supported by both sides ({what})"
                )
            }
            rustls::Error::PeerMisbehaved(what) => {
                write!(f, "the peer violated the TLS protocol ({})", words(what))
            }
            rustls::Error::InvalidMessage(what) => {
                write!(f, "the peer sent an invalid message ({})", words(what))
            }
            rustls::Error::General(text) => write!(f, "TLS failed ({text})"),
            error => write!(f, "TLS failed ({})", words(error)),
        }
    }
}

/// Writes that a certificate is not valid yet or has expired.
fn dates(f: &mut fmt::Formatter<'_>, error: &CertificateError) -> fmt::Result {
    let days = |later: &UnixTime, earlier: &UnixTime| {
        later.as_secs().saturating_sub(earlier.as_secs()) / 86400
    };
    let clock = "check the clock of this machine";
    match error {
        CertificateError::NotValidYetContext { time, not_before } => {
            let days = days(not_before, time);
            write!(
                f,
                "the certificate is not valid yet: it becomes valid in {days} days ({clock})"
            )
        }
        CertificateError::NotValidYet => write!(f, "the certificate is not valid yet ({clock})"),
        CertificateError::ExpiredContext { time, not_after } => {
            let days = days(time, not_after);
            write!(
                f,
                "the certificate expired {days} days ago (renew it, or {clock})"
            )
        }
        _ => write!(f, "the certificate expired (renew it, or {clock})"),
    }
}

/// Writes the reason why a certificate is rejected.
fn certificate(f: &mut fmt::Formatter<'_>, error: &CertificateError) -> fmt::Result {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => dates(f, error),
        CertificateError::Revoked => f.write_str("the certificate is revoked"),
        CertificateError::UnknownIssuer => unknown_issuer(f),
        CertificateError::NotValidForName => f.write_str("the certificate is for another host"),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let presented = presented.iter().filter_map(|name| host(name));
            let presented = presented.collect::<Vec<_>>().join(", ");
            let expected = expected.to_str();
            if presented.is_empty() { write!(f, "the certificate is not for {expected}: it names no host") } else { write!(f, "the certificate is not for {expected}, but for {presented}") }
        }
        CertificateError::BadEncoding => f.write_str("the certificate is malformed"),
        CertificateError::BadSignature => f.write_str(
            "the signature of the certificate is invalid, or is made with an RSA key of fewer than 2048 bits",
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => f
            .write_str(
                "the certificate may not be used for this purpose (see its keyUsage and extendedKeyUsage)",
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
                None => f.write_str("the certificate is not valid"),
            }
        }
        error => write!(f, "the certificate is not valid ({})", words(error)),
    }
}

/// Returns the host in a name of a certificate. webpki formats a host as `DnsName("example.org")`. Returns `None` for
/// names of another kind, such as mail addresses.
fn host(name: &str) -> Option<&str> {
    let host = name
        .strip_prefix("DnsName(\"")
        .and_then(|rest| rest.strip_suffix("\")"));
    host.or_else(|| name.strip_prefix("IpAddress(")?.strip_suffix(')'))
        .or_else(|| (!name.contains('(')).then_some(name))
}

fn unknown_issuer(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(
        "the certificate is not signed by a trusted authority (use --cafile to trust its authority, or the certificate \
         itself if it is self-signed)",
    )
}

/// Writes the reason that an alert of the peer gives, in words for the user.
fn alert_received(f: &mut fmt::Formatter<'_>, alert: AlertDescription) -> fmt::Result {
    let what = match alert {
        AlertDescription::CertificateRequired => {
            "it requires a client certificate (use --cert and --key)"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => "it rejects the certificate of this side",
        AlertDescription::CertificateExpired => {
            "it reports that the certificate of this side has expired"
        }
        AlertDescription::CertificateRevoked => {
            "it reports that the certificate of this side is revoked"
        }
        AlertDescription::UnknownCA => "it does not trust the authority of this side's certificate",
        AlertDescription::ProtocolVersion => "it supports none of the TLS versions of this side",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it supports none of the cipher suites of this side, requires a client certificate, or has a key that is \
             not supported here (such as RSA-PSS)"
        }
        AlertDescription::NoApplicationProtocol => "it does not support the protocol of --tls-alpn",
        AlertDescription::Unknown(number) => {
            return write!(f, "the peer ended the handshake (alert {number})");
        }
        alert => {
            let alert = words(&alert);
            return write!(f, "the peer ended the handshake ({alert})");
        }
    };
    write!(f, "the peer ended the handshake: {what}")
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
                "no cipher suite of '{list}' is supported (use DEFAULT or 'ECDHE+AESGCM')"
            ),
            Self::EncryptedKey(path) => {
                let path = path.display();
                write!(
                    f,
                    "the key in '{path}' is encrypted (decrypt it with 'openssl pkey -in {path} -out NEW')"
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
                write!(f, "the key in '{key}' does not match the certificate in '{certificate}'")
            }
            Self::RestrictedAuthority(path) => {
                let path = path.display();
                write!(
                    f,
                    "a certificate in '{path}' is trusted for some uses only, which is not supported (trust it for all uses \
                     with 'openssl x509 -in {path} -out NEW')"
                )
            }
            Self::Malformed(path, what) => {
                write!(f, "no {what} in PEM format in '{}'", path.display())
            }
            Self::Read(path, error) => write!(f, "cannot read '{}': {}", path.display(), reason(error)),
            Self::NoAuthorities => f.write_str(
                "this system has no list of trusted authorities (use --cafile)",
            ),
            Self::NoClientAuthorities => f.write_str(
                "cannot verify certificates of clients: cafile or capath contains no certificate of an authority",
            ),
            Self::RevocationList(path, error) => {
                let path = path.display();
                let problem = Problem(error);
                write!(f, "the list of revoked certificates in '{path}' cannot be used: it {problem}")
            }
            Self::Rustls(error) => write!(f, "TLS cannot be set up ({})", words(error)),
            Self::ServerName(host) => write!(f, "'{host}' is not a host name that a certificate can have"),
        }
    }
}

impl std::error::Error for TlsSetupError {}

#[cfg(test)]
mod tests;
