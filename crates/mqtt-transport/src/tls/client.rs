//! The TLS configuration of a client: the authorities that it trusts, and its own certificate.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ClientConnection};

use super::authorities::Authorities;
use super::error::TlsSetupError;
use super::files;
use super::key_log::KeyLogFile;
use super::legacy::Role;
use super::own::OwnCertificate;
use super::path::PathVerifier;
use super::provider::provider;
use super::verifier::ServerVerifier;
use super::version::TlsVersion;

/// TLS options of a client.
#[derive(Debug, Clone, Default)]
pub struct TlsClientOptions {
    /// A file with certificates of trusted authorities.
    pub ca_file: Option<PathBuf>,
    /// A folder with certificates of trusted authorities.
    pub ca_path: Option<PathBuf>,
    /// Set to trust the CA certificates of the system. They are also trusted if no others are named.
    pub system_authorities: bool,
    /// The file of the client's certificate, with the intermediate certificates.
    pub certificate: Option<PathBuf>,
    /// The file of the certificate's private key.
    pub key: Option<PathBuf>,
    /// Set to accept a certificate for another host.
    pub any_host: bool,
    /// The application protocol to offer (ALPN).
    pub alpn: Option<String>,
    /// The lowest version of TLS.
    pub version: Option<TlsVersion>,
    /// The cipher suites of TLS 1.2, as a list in OpenSSL's language.
    pub ciphers: Option<String>,
    /// A file to which the secrets of connections are appended.
    pub key_log: Option<PathBuf>,
}

/// The TLS of a client, ready for connections; cheap to clone. Its connections share their session tickets, so that a
/// reconnect resumes the TLS session.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    warnings: Arc<[String]>,
}

impl TlsClient {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// If a file cannot be read or used.
    pub fn new(options: &TlsClientOptions) -> Result<Self, TlsSetupError> {
        let provider = provider(options.version, options.ciphers.as_deref())?;
        let (file, folder) = (options.ca_file.as_deref(), options.ca_path.as_deref());
        let named = files::authorities(file, folder)?;
        // The authorities of the system are read only if they count: reading them takes milliseconds.
        let of_system = if options.system_authorities || file.is_none() && folder.is_none() {
            rustls_native_certs::load_native_certs().certs
        } else {
            Vec::new()
        };
        let authorities = Authorities::new(&named, &of_system);
        if authorities.is_empty() {
            return Err(match folder {
                Some(folder) => TlsSetupError::Malformed(folder.to_owned(), "certificate"),
                None => TlsSetupError::NoAuthorities,
            });
        }
        let algorithms = provider.signature_verification_algorithms;
        let verifier = ServerVerifier {
            path: PathVerifier::new(authorities, algorithms),
            any_host: options.any_host,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(TlsVersion::from(options.version))
            .map_err(TlsSetupError::Rustls)?
            .dangerous() // the name of rustls for any verifier that is not its own
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut warnings: Vec<_> = TlsVersion::warning(options.version).into_iter().collect();
        // The key was compared with the certificate when they were read. rustls's own comparison parses the certificate with
        // webpki, which rejects legacy ones; a resolver is taken unchecked.
        let mut config = match (&options.certificate, &options.key) {
            (Some(certificate), Some(key)) => {
                let own = OwnCertificate::read(certificate, key, &named, Role::Client, &provider)?;
                warnings.extend(own.warning(certificate));
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified)))
            }
            _ => builder.with_no_client_auth(),
        };
        let alpn = options
            .alpn
            .iter()
            .map(|protocol| protocol.clone().into_bytes());
        config.alpn_protocols = alpn.collect();
        if let Some(path) = &options.key_log {
            config.key_log = Arc::new(KeyLogFile::open(path)?);
        }
        Ok(Self {
            config: Arc::new(config),
            warnings: warnings.into(),
        })
    }

    /// Returns warnings about the files for the user.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the name for which the server's certificate must be valid.
    ///
    /// # Errors
    /// If no certificate can name such a host.
    pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsSetupError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host.to_owned())
            .map_err(|_| TlsSetupError::ServerName(host.to_owned()))
    }

    /// Starts a connection to this server.
    pub(crate) fn connection(
        &self,
        server: ServerName<'static>,
    ) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), server)
    }
}
