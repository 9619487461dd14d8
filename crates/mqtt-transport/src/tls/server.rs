//! TLS configuration of a listener: the certificate of the server, and the certificates of clients that it accepts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConfig, ServerConnection};

use super::authorities::Authorities;
use super::error::TlsSetupError;
use super::files;
use super::key_log::KeyLogFile;
use super::legacy::Role;
use super::own::OwnCertificate;
use super::path::PathVerifier;
use super::provider::provider;
use super::revocation::RevocationLists;
use super::verifier::ClientVerifier;
use super::version::TlsVersion;

/// TLS options of a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsServerOptions {
    /// File with the server's certificate and the intermediate certificates.
    pub certificate: PathBuf,
    /// File with the private key of the certificate.
    pub key: PathBuf,
    /// File with the authorities that may sign certificates of clients.
    pub ca_file: Option<PathBuf>,
    /// Folder with such authorities.
    pub ca_path: Option<PathBuf>,
    /// Set to reject clients without a certificate.
    pub require_certificate: bool,
    /// Set if certificates identify clients. The server then requests a certificate, but a client may have none.
    pub identifies_clients: bool,
    /// File with certificate revocation lists.
    pub revoked: Option<PathBuf>,
    /// Minimum version of TLS.
    pub version: Option<TlsVersion>,
    /// Cipher suites of TLS 1.2, as a list in the syntax of OpenSSL.
    pub ciphers: Option<String>,
    /// File with Diffie-Hellman parameters. It causes only a warning, because rustls uses elliptic curves.
    pub dh_parameters: Option<PathBuf>,
    /// File to which the secrets of connections are appended, for tools such as Wireshark.
    pub key_log: Option<PathBuf>,
}

/// TLS configuration of a listener, ready for connections. Clones are cheap.
#[derive(Debug, Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    /// File with the revocation lists, for error messages.
    revoked: Option<Arc<Path>>,
    warnings: Arc<[String]>,
}

impl TlsServer {
    /// Reads the files in the options.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or used.
    pub fn new(options: &TlsServerOptions) -> Result<Self, TlsSetupError> {
        let provider = provider(options.version, options.ciphers.as_deref())?;
        let (file, folder) = (options.ca_file.as_deref(), options.ca_path.as_deref());
        let named = files::authorities(file, folder)?;
        let verifier = client_verifier(options, &named, &provider)?;
        let (certificate, key) = (&options.certificate, &options.key);
        let own = OwnCertificate::read(certificate, key, &named, Role::Server, &provider)?;
        let mut warnings: Vec<_> = TlsVersion::warning(options.version).into_iter().collect();
        warnings.extend(own.warning(certificate));
        warnings.extend(options.dh_parameters.as_deref().map(|file| {
            let file = file.display();
            format!("dhparamfile '{file}' has no effect, as keys are agreed on with elliptic curves (remove the line)")
        }));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(TlsVersion::from(options.version))
            .map_err(TlsSetupError::Rustls)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified)));
        if let Some(path) = &options.key_log {
            config.key_log = Arc::new(KeyLogFile::open(path)?);
        }
        if options.revoked.is_some() {
            // A resumed session is not verified again, so a revoked certificate or an expired list would have no
            // effect.
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Ok(Self {
            config: Arc::new(config),
            revoked: options.revoked.as_deref().map(Arc::from),
            warnings: warnings.into(),
        })
    }

    /// Returns warnings about the configured files.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns a new connection with a client.
    pub(crate) fn connection(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(Arc::clone(&self.config))
    }

    /// Returns the file with the revocation lists, or `None` without one.
    pub(crate) fn revoked(&self) -> Option<Arc<Path>> {
        self.revoked.clone()
    }
}

/// Returns the verifier for certificates of clients, or one that requests no certificate.
fn client_verifier(
    options: &TlsServerOptions,
    named: &[CertificateDer<'static>],
    provider: &CryptoProvider,
) -> Result<Arc<dyn ClientCertVerifier>, TlsSetupError> {
    // As in mosquitto, `cafile` alone does not make the server request a certificate. A client may have a certificate
    // for another server, and would be rejected here because of it.
    if !options.require_certificate && !options.identifies_clients {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let authorities = Authorities::new(named, &[]);
    if authorities.is_empty() {
        return Err(match &options.ca_path {
            Some(folder) => TlsSetupError::Malformed(folder.clone(), "certificate"),
            None => TlsSetupError::NoClientAuthorities,
        });
    }
    let lists = options.revoked.as_deref().map(RevocationLists::read);
    let names = authorities.names();
    let algorithms = provider.signature_verification_algorithms;
    Ok(Arc::new(ClientVerifier {
        path: PathVerifier::new(authorities, algorithms),
        names,
        is_required: options.require_certificate,
        lists: lists.transpose()?,
    }))
}
