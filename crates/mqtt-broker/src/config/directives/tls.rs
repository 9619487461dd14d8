//! The directives of TLS.

use std::path::PathBuf;

use mqtt_transport::{TlsServerOptions, TlsVersion};

use super::definition::{Definition, text, word};

/// A directive of TLS.
#[derive(Debug)]
pub(crate) enum TlsDirective {
    Certificate(PathBuf),
    Key(PathBuf),
    CaFile(PathBuf),
    CaPath(PathBuf),
    Revoked(PathBuf),
    RequireCertificate(bool),
    Ciphers(String),
    Version(TlsVersion),
    DhParameters(PathBuf),
}

use TlsDirective as D;

pub(crate) const TLS: &[Definition<D>] = &[
    text("certfile", |l| Ok(D::Certificate(l.rest.into()))),
    text("keyfile", |l| Ok(D::Key(l.rest.into()))),
    text("cafile", |l| Ok(D::CaFile(l.rest.into()))),
    text("capath", |l| Ok(D::CaPath(l.rest.into()))),
    text("crlfile", |l| Ok(D::Revoked(l.rest.into()))),
    word("require_certificate", |l| {
        l.boolean().map(D::RequireCertificate)
    }),
    word("ciphers", |l| Ok(D::Ciphers(l.value().to_owned()))),
    word("tls_version", |l| {
        let version = TlsVersion::parse(l.value());
        let wrong = || l.wrong("tlsv1.1, tlsv1.2 or tlsv1.3");
        version.map(D::Version).ok_or_else(wrong)
    }),
    text("dhparamfile", |l| Ok(D::DhParameters(l.rest.into()))),
];

impl TlsDirective {
    /// Applies the directive to the options of its listener.
    pub(crate) fn apply(self, options: &mut TlsServerOptions) {
        match self {
            Self::Certificate(path) => options.certificate = path,
            Self::Key(path) => options.key = path,
            Self::CaFile(path) => options.ca_file = Some(path),
            Self::CaPath(path) => options.ca_path = Some(path),
            Self::Revoked(path) => options.revoked = Some(path),
            Self::RequireCertificate(is_required) => options.require_certificate = is_required,
            Self::Ciphers(ciphers) => options.ciphers = Some(ciphers),
            Self::Version(version) => options.version = Some(version),
            Self::DhParameters(path) => options.dh_parameters = Some(path),
        }
    }
}
