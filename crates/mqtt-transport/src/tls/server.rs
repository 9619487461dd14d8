//! The TLS configuration of a listener: its certificate, and the certificates of clients that it accepts.

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
    /// The file of the server's certificate, with the intermediate certificates.
    pub certificate: PathBuf,
    /// The file of the certificate's private key.
    pub key: PathBuf,
    /// A file with the authorities that may sign clients' certificates.
    pub ca_file: Option<PathBuf>,
    /// A folder with such authorities.
    pub ca_path: Option<PathBuf>,
    /// Set if a client must have a certificate.
    pub require_certificate: bool,
    /// Set if certificates identify clients: a client is asked for its certificate, but may have none.
    pub identifies_clients: bool,
    /// A file with certificate revocation lists.
    pub revoked: Option<PathBuf>,
    /// The lowest version of TLS.
    pub version: Option<TlsVersion>,
    /// The cipher suites of TLS 1.2, as a list in OpenSSL's language.
    pub ciphers: Option<String>,
    /// A file with Diffie-Hellman parameters. It only causes a warning, as rustls uses elliptic curves.
    pub dh_parameters: Option<PathBuf>,
    /// A file to which the secrets of connections are appended.
    pub key_log: Option<PathBuf>,
}

/// The TLS of a listener, ready for connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    /// The file of the revocation lists, for error messages.
    revoked: Option<Arc<Path>>,
    warnings: Arc<[String]>,
}

impl TlsServer {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// If a file cannot be read or used.
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
            // A resumed session is not verified again, so a list that expires meanwhile would not be noticed.
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Ok(Self {
            config: Arc::new(config),
            revoked: options.revoked.as_deref().map(Arc::from),
            warnings: warnings.into(),
        })
    }

    /// Returns warnings about the files for the user.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Starts a connection with a client.
    pub(crate) fn connection(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(Arc::clone(&self.config))
    }

    /// Returns the file of the revocation lists, if there is one.
    pub(crate) fn revoked(&self) -> Option<Arc<Path>> {
        self.revoked.clone()
    }
}

fn client_verifier(
    options: &TlsServerOptions,
    named: &[CertificateDer<'static>],
    provider: &CryptoProvider,
) -> Result<Arc<dyn ClientCertVerifier>, TlsSetupError> {
    // As with mosquitto, 'cafile' alone does not make the server ask for a certificate: a client may have one that is
    // meant for another server, and it would be rejected here.
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
