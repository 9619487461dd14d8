//! The server's end: its certificate, and which clients' certificates it wants.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::revocation::RevocationVerifier;
use super::{TlsSetupError, TlsVersion, files, provider};
use crate::layer::tls::TlsLayer;

/// What a listener is told about TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsServerOptions {
    /// The server's certificate, with those that lead to its authority.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// A file with the authorities of clients' certificates.
    pub ca_file: Option<PathBuf>,
    /// A folder with the same.
    pub ca_path: Option<PathBuf>,
    /// Whether a client has to show a certificate.
    pub require_certificate: bool,
    /// A file with the certificates that are revoked.
    pub revoked: Option<PathBuf>,
    /// The lowest version.
    pub version: Option<TlsVersion>,
    /// Cipher suites of TLS 1.2, by the names of OpenSSL.
    pub ciphers: Option<String>,
}

/// A server's TLS, ready for connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    /// The file with the certificates that are revoked.
    revoked: Option<Arc<Path>>,
}

impl TlsServer {
    /// Reads what the options name.
    ///
    /// # Errors
    /// If a file is missing or wrong.
    pub fn new(options: &TlsServerOptions) -> Result<Self, TlsSetupError> {
        let provider = provider(options.version, options.ciphers.as_deref())?;
        let verifier = client_verifier(options, Arc::clone(&provider))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(TlsVersion::from(options.version))
            .map_err(TlsSetupError::Rustls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                files::certificates(&options.certificate)?,
                files::key(&options.key)?,
            )
            .map_err(|error| TlsSetupError::Key(options.key.clone(), error))?;
        if options.revoked.is_some() {
            // A resumed session is not verified again, so a list that expires meanwhile would not be noticed.
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Ok(Self {
            config: Arc::new(config),
            revoked: options.revoked.as_deref().map(Arc::from),
        })
    }

    /// A connection with a client.
    pub(crate) fn layer(&self) -> Result<TlsLayer<ServerConnection>, rustls::Error> {
        let connection = ServerConnection::new(Arc::clone(&self.config))?;
        Ok(TlsLayer::of_server(connection, self.revoked.clone()))
    }
}

fn client_verifier(
    options: &TlsServerOptions,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    let (file, folder) = (options.ca_file.as_deref(), options.ca_path.as_deref());
    files::add_authorities(&mut roots, file, folder)?;
    if roots.is_empty() {
        return match options.require_certificate {
            true => Err(TlsSetupError::NoClientAuthorities),
            false => Ok(WebPkiClientVerifier::no_client_auth()),
        };
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if !options.require_certificate {
        builder = builder.allow_unauthenticated();
    }
    match &options.revoked {
        Some(path) => Ok(Arc::new(RevocationVerifier::new(builder, path)?)),
        None => builder
            .build()
            .map_err(|_| TlsSetupError::NoClientAuthorities),
    }
}
