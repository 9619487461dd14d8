//! The configuration of TLS for both ends, the verification of certificates, and the texts of errors. rustls and ring do
//! the cryptography; `layer/tls.rs` passes the bytes.
//!
//! Both ends call webpki themselves (`path.rs`) instead of rustls's verifiers, so that certificates that webpki does not
//! read can be rewritten before (`legacy.rs`) while webpki still checks everything.

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
