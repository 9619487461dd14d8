//! The cryptography of ring, restricted to the TLS versions and cipher suites that the user has configured.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

use super::ciphers;
use super::error::TlsSetupError;
use super::version::TlsVersion;

/// Returns the cryptography for TLS versions from `lowest` on. `ciphers` selects the cipher suites of TLS 1.2 and their
/// order.
pub(super) fn provider(
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
    // OpenSSL configures the suites of TLS 1.3 with another option, so `ciphers` does not affect them.
    let of_tls13 = all.iter().filter(|suite| suite.tls13().is_some()).copied();
    provider.cipher_suites.extend(of_tls13);
    provider
        .cipher_suites
        .extend(of_tls12.into_iter().filter_map(find));
    Ok(Arc::new(provider))
}
