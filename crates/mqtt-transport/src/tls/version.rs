//! [`TlsVersion`] is a TLS version that a user can configure.

use rustls::{SupportedProtocolVersion, version};

/// Minimum version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// `tlsv1.1`, which requires at least TLS 1.1. rustls does not support TLS 1.1, so the minimum is then TLS 1.2.
    V1_1,
    /// `tlsv1.2`.
    V1_2,
    /// `tlsv1.3`.
    V1_3,
}

impl TlsVersion {
    /// Returns the version with this name, as the mosquitto tools write it. Returns `None` for other names.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "tlsv1.1" => Some(Self::V1_1),
            "tlsv1.2" => Some(Self::V1_2),
            "tlsv1.3" => Some(Self::V1_3),
            _ => None,
        }
    }

    /// Returns a warning if the version is not supported.
    pub(super) fn warning(lowest: Option<Self>) -> Option<String> {
        let is_too_old = lowest == Some(Self::V1_1);
        let text = "TLS 1.1 is not supported, so TLS 1.2 is the lowest version (write tlsv1.2)";
        is_too_old.then(|| text.to_owned())
    }

    /// Returns the versions from `lowest` on, or all supported versions if `lowest` is `None`.
    pub(super) fn from(lowest: Option<Self>) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match lowest {
            None | Some(Self::V1_1 | Self::V1_2) => &ALL,
            Some(Self::V1_3) => ALL.get(..1).unwrap_or_default(),
        }
    }
}
