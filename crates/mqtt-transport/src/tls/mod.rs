//! TLS: what both ends are told, and their errors in words. The bytes go through
//! `layer/tls.rs`; the cryptography is that of rustls.

mod authorities;
mod ciphers;
mod client;
mod curves;
mod error;
mod files;
mod identity;
mod key_log;
mod legacy;
mod own;
mod path;
mod revocation;
mod server;
mod verifier;
mod words;

pub use client::{TlsClient, TlsClientOptions};
pub use error::{TlsError, TlsSetupError};
pub use identity::PeerIdentity;
pub use server::{TlsServer, TlsServerOptions};

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::{SupportedProtocolVersion, version};

use legacy::{LegacyCertificate, Role};

/// The lowest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// `tlsv1.1`, which rustls does not have. Version 1.2 is the lowest one then, as users of this name want it to be
    /// at least 1.1.
    V1_1,
    /// `tlsv1.2`.
    V1_2,
    /// `tlsv1.3`.
    V1_3,
}

impl TlsVersion {
    /// By the name that the mosquitto tools use.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "tlsv1.1" => Some(Self::V1_1),
            "tlsv1.2" => Some(Self::V1_2),
            "tlsv1.3" => Some(Self::V1_3),
            _ => None,
        }
    }

    /// Returns a line about a version that is named and not spoken.
    fn warning(lowest: Option<Self>) -> Option<String> {
        let is_too_old = lowest == Some(Self::V1_1);
        let text = "TLS 1.1 is not supported, so TLS 1.2 is the lowest version (name tlsv1.2)";
        is_too_old.then(|| text.to_owned())
    }

    /// This one and later ones; all if none is named.
    fn from(lowest: Option<Self>) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match lowest {
            None | Some(Self::V1_1 | Self::V1_2) => &ALL,
            Some(Self::V1_3) => ALL.get(..1).unwrap_or_default(),
        }
    }
}

/// Returns a line about the certificate of a peer that was accepted, if there is something old about it.
pub(crate) fn peer_warning(certificate: &CertificateDer<'_>, is_client: bool) -> Option<String> {
    let (role, whose) = match is_client {
        true => (Role::Client, "client"),
        false => (Role::Server, "server"),
    };
    let legacy = LegacyCertificate::read(certificate, role)?;
    Some(format!(
        "the certificate of the {whose} {}",
        legacy.outdated()
    ))
}

/// Returns the cryptography from this version on, with these cipher suites of TLS 1.2 in this order.
fn provider(
    lowest: Option<TlsVersion>,
    ciphers: Option<&str>,
) -> Result<Arc<CryptoProvider>, TlsSetupError> {
    let mut provider = ring::default_provider();
    let of_tls12 = match (lowest, ciphers) {
        (Some(TlsVersion::V1_3), _) => Vec::new(),
        (_, None) => return Ok(Arc::new(provider)),
        (_, Some(list)) => {
            let selected = ciphers::select(list);
            if selected.is_empty() {
                return Err(TlsSetupError::Ciphers(list.to_owned()));
            }
            selected
        }
    };
    let all = std::mem::take(&mut provider.cipher_suites);
    let find = |suite| all.iter().find(|known| known.suite() == suite).copied();
    let of_tls13 = all.iter().filter(|suite| suite.tls13().is_some()).copied();
    provider.cipher_suites.extend(of_tls13);
    provider
        .cipher_suites
        .extend(of_tls12.into_iter().filter_map(find));
    Ok(Arc::new(provider))
}
