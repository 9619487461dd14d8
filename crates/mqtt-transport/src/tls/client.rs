//! The client's end: whom it trusts, and who it is.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, KeyLog, RootCertStore};

use super::verifier::Verifier;
use super::{TlsSetupError, TlsVersion, files, provider};
use crate::layer::tls::TlsLayer;

/// What a client may be told about TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsClientOptions {
    /// A file with certificates of authorities.
    pub ca_file: Option<PathBuf>,
    /// A folder with certificates of authorities.
    pub ca_path: Option<PathBuf>,
    /// Whether the authorities that the system trusts are trusted. So they are where no others are
    /// named.
    pub system_authorities: bool,
    /// The client's certificate, with those that lead to its authority.
    pub certificate: Option<PathBuf>,
    /// The key of the certificate.
    pub key: Option<PathBuf>,
    /// Whether the certificate may be for another host.
    pub any_host: bool,
    /// The application protocol that is asked for.
    pub alpn: Option<String>,
    /// The lowest version.
    pub version: Option<TlsVersion>,
    /// Cipher suites of TLS 1.2, by the names of OpenSSL.
    pub ciphers: Option<String>,
    /// A file that the secrets of connections are appended to.
    pub key_log: Option<PathBuf>,
}

/// A client's TLS, ready for connections; cheap to clone. Its connections share what makes the next
/// one faster.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// Reads what the options name.
    ///
    /// # Errors
    /// If a file is missing or wrong.
    pub fn new(options: &TlsClientOptions) -> Result<Self, TlsSetupError> {
        let provider = provider(options.version, options.ciphers.as_deref())?;
        let roots = Arc::new(authorities(options)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|_| TlsSetupError::NoAuthorities)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(TlsVersion::from(options.version))
            .map_err(TlsSetupError::Rustls)?;
        let named = options.ca_file.as_deref().map(files::certificates);
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier {
                inner: verifier,
                named: named.transpose()?.unwrap_or_default(),
                any_host: options.any_host,
            }));
        let mut config = match (&options.certificate, &options.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(files::certificates(certificate)?, files::key(key)?)
                .map_err(|error| TlsSetupError::Key(key.clone(), error))?,
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
        })
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

    /// A connection to this server.
    pub(crate) fn layer(
        &self,
        server: ServerName<'static>,
    ) -> Result<TlsLayer<ClientConnection>, rustls::Error> {
        let connection = ClientConnection::new(Arc::clone(&self.config), server)?;
        Ok(TlsLayer::new(connection))
    }
}

fn authorities(options: &TlsClientOptions) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    let (file, folder) = (options.ca_file.as_deref(), options.ca_path.as_deref());
    files::add_authorities(&mut roots, file, folder)?;
    if options.system_authorities || file.is_none() && folder.is_none() {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
    }
    match roots.is_empty() {
        true => Err(TlsSetupError::NoAuthorities),
        false => Ok(roots),
    }
}

/// The secrets of connections, in the form that tools for networks read.
#[derive(Debug)]
struct KeyLogFile(Mutex<File>);

impl KeyLogFile {
    fn open(path: &Path) -> Result<Self, TlsSetupError> {
        let mut options = File::options();
        options.append(true).create(true);
        // Who reads this file can decrypt the connections.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path);
        let file = file.map_err(|error| TlsSetupError::Read(path.to_owned(), error))?;
        Ok(Self(Mutex::new(file)))
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(line.as_bytes()); // the connection is worth more than its log
    }
}
