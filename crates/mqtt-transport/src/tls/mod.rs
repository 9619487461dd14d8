//! TLS configuration of clients and servers, verification of certificates, and texts of errors. rustls and ring do the
//! cryptography. `layer/tls.rs` passes the bytes of a connection to rustls.
//!
//! Clients and servers call webpki in `path.rs` and do not use the verifiers of rustls. Therefore `legacy.rs` can
//! rewrite certificates that webpki cannot parse, and webpki still makes all checks.

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
