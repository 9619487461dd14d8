//! Implementations of the verifier traits of rustls for clients and servers. `path.rs` does the verification.

use rustls::DistinguishedName;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};

use super::path::{PathVerifier, handshake_signatures};
use super::revocation::RevocationLists;

/// Verifier for certificates of servers.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) path: PathVerifier,
    /// Set by `--insecure`. The certificate may then be for another host, and everything else is still verified.
    pub(super) any_host: bool,
}

/// Verifier for certificates of clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) path: PathVerifier,
    /// Names of the authorities. The server sends them so that a client can choose its certificate.
    pub(super) names: Vec<DistinguishedName>,
    pub(super) is_required: bool,
    pub(super) lists: Option<RevocationLists>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // `--insecure` of the mosquitto tools skips only the check of the host name. Skipping more would hide an
        // attacker on the network.
        let host = (!self.any_host).then_some(server_name);
        let verified = self
            .path
            .verify_server(end_entity, intermediates, now, host);
        verified.map(|()| ServerCertVerified::assertion())
    }

    handshake_signatures!(path);
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = match &self.lists {
            Some(lists) => lists.verify(&self.path, end_entity, intermediates, now),
            None => self
                .path
                .verify_client(end_entity, intermediates, now, None),
        };
        verified.map(|()| ClientCertVerified::assertion())
    }

    handshake_signatures!(path);
}
