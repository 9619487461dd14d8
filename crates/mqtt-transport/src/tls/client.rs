//! The client's end: whom it trusts, and who it is.

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
    /// A file with certificates of authorities.
    pub ca_file: Option<PathBuf>,
    /// A folder with certificates of authorities.
    pub ca_path: Option<PathBuf>,
    /// Set to trust the CA certificates of the system. They are also trusted if no others are named.
    pub system_authorities: bool,
    /// The client's certificate, with those that lead to its authority.
    pub certificate: Option<PathBuf>,
    /// The key of the certificate.
    pub key: Option<PathBuf>,
    /// Set to accept a certificate for another host.
    pub any_host: bool,
    /// The application protocol that is asked for.
    pub alpn: Option<String>,
    /// The lowest version.
    pub version: Option<TlsVersion>,
    /// Cipher suites of TLS 1.2, as a list of OpenSSL's.
    pub ciphers: Option<String>,
    /// A file that the secrets of connections are appended to.
    pub key_log: Option<PathBuf>,
}

/// A client's TLS, ready for connections; cheap to clone. Its connections share what makes the next
/// one faster.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    warnings: Arc<[String]>,
}

impl TlsClient {
    /// Reads what the options name.
    ///
    /// # Errors
    /// If a file is missing or wrong.
    pub fn new(options: &TlsClientOptions) -> Result<Self, TlsSetupError> {
        let provider = provider(options.version, options.ciphers.as_deref())?;
        let (file, folder) = (options.ca_file.as_deref(), options.ca_path.as_deref());
        let named = files::authorities(file, folder)?;
        let of_system = match options.system_authorities || file.is_none() && folder.is_none() {
            true => rustls_native_certs::load_native_certs().certs,
            false => Vec::new(),
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
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut warnings: Vec<_> = TlsVersion::warning(options.version).into_iter().collect();
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

    /// Returns what the user should know about the files, a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Checks that a certificate can be for this host.
    ///
    /// # Errors
    /// If not.
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
