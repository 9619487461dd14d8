//! TLS: what both ends are told, and their errors in words. The bytes go through
//! `layer/tls.rs`; the cryptography is that of rustls.

mod client;
mod error;
mod files;
mod identity;
mod revocation;
mod server;
mod verifier;

pub use client::{TlsClient, TlsClientOptions};
pub use error::{TlsError, TlsSetupError};
pub use identity::PeerIdentity;
pub use server::{TlsServer, TlsServerOptions};

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{SupportedProtocolVersion, version};

/// The lowest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// `tlsv1.2`.
    V1_2,
    /// `tlsv1.3`.
    V1_3,
}

impl TlsVersion {
    /// By the name that the mosquitto tools use.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "tlsv1.2" => Some(Self::V1_2),
            "tlsv1.3" => Some(Self::V1_3),
            _ => None,
        }
    }

    /// This one and later ones; all if none is named.
    fn from(lowest: Option<Self>) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match lowest {
            None | Some(Self::V1_2) => &ALL,
            Some(Self::V1_3) => ALL.get(..1).unwrap_or_default(),
        }
    }
}

/// The cipher suites of TLS 1.2 by the names of OpenSSL; those of TLS 1.3 always stay.
const CIPHERS: &[(&str, rustls::CipherSuite)] = &[
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        rustls::CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// The cryptography from this version on, with these cipher suites of TLS 1.2 in this order.
///
/// Names that are not known are passed over, as OpenSSL does it, as long as one is left.
fn provider(
    lowest: Option<TlsVersion>,
    ciphers: Option<&str>,
) -> Result<Arc<CryptoProvider>, TlsSetupError> {
    let mut provider = ring::default_provider();
    if lowest == Some(TlsVersion::V1_3) {
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some());
        return Ok(Arc::new(provider));
    }
    let Some(list) = ciphers else {
        return Ok(Arc::new(provider));
    };
    let named = list.split([':', ',', ' ']).filter_map(|name| {
        let (_, suite) = CIPHERS.iter().find(|(known, _)| *known == name)?;
        provider
            .cipher_suites
            .iter()
            .find(|known| known.suite() == *suite)
            .copied()
    });
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        return Err(TlsSetupError::Ciphers(list.to_owned()));
    }
    provider
        .cipher_suites
        .retain(|suite| suite.tls13().is_some());
    provider.cipher_suites.extend(named);
    Ok(Arc::new(provider))
}
