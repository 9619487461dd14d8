//! TLS configuration of a client: the authorities that the client trusts, and its own certificate.

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
    /// File with certificates of trusted authorities.
    pub ca_file: Option<PathBuf>,
    /// Folder with certificates of trusted authorities.
    pub ca_path: Option<PathBuf>,
    /// Set to trust the CA certificates of the operating system in addition. They are always trusted if neither
    /// `ca_file` nor `ca_path` is given.
    pub system_authorities: bool,
    /// File with the client's certificate and the intermediate certificates.
    pub certificate: Option<PathBuf>,
    /// File with the private key of the certificate.
    pub key: Option<PathBuf>,
    /// Set to accept a certificate for another host name. The chain is still verified.
    pub any_host: bool,
    /// Application protocol to offer (ALPN).
    pub alpn: Option<String>,
    /// Minimum version of TLS.
    pub version: Option<TlsVersion>,
    /// Cipher suites of TLS 1.2, as a list in the syntax of OpenSSL.
    pub ciphers: Option<String>,
    /// File to which the secrets of connections are appended, for tools such as Wireshark.
    pub key_log: Option<PathBuf>,
}

/// TLS configuration of a client, ready for connections. Clones are cheap. All connections share the session tickets,
/// so that a reconnect resumes the TLS session.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    warnings: Arc<[String]>,
}

impl TlsClient {
    /// Reads the files in the options.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or used.
    pub fn new(options: &TlsClientOptions) -> Result<Self, TlsSetupError> {
        let provider = provider(options.version, options.ciphers.as_deref())?;
        let (file, folder) = (options.ca_file.as_deref(), options.ca_path.as_deref());
        let named = files::authorities(file, folder)?;
        // The authorities of the operating system are read only if they are needed, because reading them takes
        // milliseconds.
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
            .dangerous() // rustls requires this call for any verifier of an application.
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut warnings: Vec<_> = TlsVersion::warning(options.version).into_iter().collect();
        // `OwnCertificate::read` has compared the key with the certificate. The comparison of rustls would parse the
        // certificate with webpki, which rejects legacy certificates. rustls does not check the result of a resolver.
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

    /// Returns warnings about the configured files.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the name for which the server's certificate must be valid.
    ///
    /// # Errors
    /// Returns an error if a certificate cannot contain such a name.
    pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsSetupError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host.to_owned())
            .map_err(|_| TlsSetupError::ServerName(host.to_owned()))
    }

    /// Returns a new connection to this server.
    pub(crate) fn connection(
        &self,
        server: ServerName<'static>,
    ) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), server)
    }
}
