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
mod provider;
mod revocation;
mod revocation_error;
mod server;
mod verifier;
mod version;
mod words;

pub use client::{TlsClient, TlsClientOptions};
pub use error::{TlsError, TlsSetupError};
pub use identity::PeerIdentity;
pub(crate) use legacy::peer_warning;
pub use server::{TlsServer, TlsServerOptions};
pub use version::TlsVersion;
