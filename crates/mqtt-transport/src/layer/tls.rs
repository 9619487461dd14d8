//! TLS as a layer, for clients and servers. rustls does the encryption. The files in `tls/` make its configuration.

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::DerefMut;
use std::path::Path;
use std::sync::Arc;

use rustls::{CertificateError, ConnectionCommon, SideData};

use super::handshake_error::LayerKind;
use super::layers::Layer;
use crate::tls::{PeerIdentity, TlsError, peer_warning};

/// Function that reads the identity of a peer from a certificate in DER.
type Identify = fn(&[u8]) -> Option<PeerIdentity>;

/// Encrypts and decrypts the bytes of a TLS connection. `C` is the connection type of rustls for clients or for
/// servers. The type is generic because `rustls::Connection`, which covers both, would link the TLS server code into
/// the clients.
#[derive(Debug)]
pub(crate) struct TlsLayer<C> {
    connection: C,
    /// Function that reads the identity from the peer's certificate. `None` at a client, which needs no identity of the
    /// server.
    identify: Option<Identify>,
    /// File with the revocation lists, at a server that has one. Error messages name this file.
    revoked: Option<Arc<Path>>,
    /// Set when the peer has sent `close_notify`.
    peer_closed: bool,
}

impl<C, S> TlsLayer<C>
where
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    pub(crate) fn new(mut connection: C) -> Self {
        // `Stream` limits the bytes that wait for the socket. A second limit in rustls would make it reject a part of a
        // write.
        connection.set_buffer_limit(None);
        Self {
            connection,
            identify: None,
            revoked: None,
            peer_closed: false,
        }
    }

    /// Returns a layer for a server. The layer reads the identity of the client. `revoked` is the file with the
    /// revocation lists.
    pub(crate) fn of_server(connection: C, revoked: Option<Arc<Path>>) -> Self {
        Self {
            identify: Some(PeerIdentity::of_certificate),
            revoked,
            ..Self::new(connection)
        }
    }

    /// Turns an error of rustls into one that names the cause. At a server this may be the revocation file, or an
    /// authority that is missing for the client's certificate.
    fn explain(&self, error: rustls::Error) -> TlsError {
        let is_server = self.identify.is_some();
        match (error, &self.revoked) {
            (rustls::Error::InvalidCertificate(CertificateError::Revoked), Some(file)) => {
                TlsError::Revoked(Arc::clone(file))
            }
            (rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), _)
                if is_server =>
            {
                TlsError::UnknownClientIssuer
            }
            (error, _) => error.into(),
        }
    }

    /// Appends the records that rustls has encrypted to `down`.
    fn flush(&mut self, down: &mut Vec<u8>) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(down)?;
        }
        Ok(())
    }
}

impl<C, S> Layer for TlsLayer<C>
where
    C: DerefMut<Target = ConnectionCommon<S>> + fmt::Debug + Send,
    S: SideData,
{
    fn kind(&self) -> LayerKind {
        LayerKind::Tls
    }

    fn start(&mut self, down: &mut Vec<u8>) -> io::Result<()> {
        self.flush(down)
    }

    fn receive(&mut self, bytes: &[u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> io::Result<()> {
        let mut input = bytes;
        while !input.is_empty() && !self.peer_closed {
            // `read_tls` may accept only a part of the bytes, so the loop continues until all are consumed.
            self.connection.read_tls(&mut input)?;
            match self.connection.process_new_packets() {
                Ok(state) => {
                    // rustls reports the number of decrypted bytes, so they are read directly into `up`.
                    let start = up.len();
                    up.resize(start + state.plaintext_bytes_to_read(), 0);
                    let room = up.get_mut(start..).unwrap_or_default();
                    self.connection.reader().read_exact(room)?;
                    self.peer_closed = state.peer_has_closed();
                }
                Err(error) => {
                    // The records before the invalid one are valid, and their bytes must not be lost.
                    let mut block = [0; 4096];
                    while let Ok(count @ 1..) = self.connection.reader().read(&mut block) {
                        up.extend_from_slice(block.get(..count).unwrap_or_default());
                    }
                    self.flush(down)?; // The output may contain an alert with the reason.
                    return Err(self.explain(error).into());
                }
            }
        }
        self.flush(down)
    }

    fn send(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> io::Result<()> {
        self.connection.writer().write_all(bytes)?;
        self.flush(down)
    }

    fn is_open(&self) -> bool {
        !self.connection.is_handshaking()
    }

    fn peer_identity(&self) -> Option<PeerIdentity> {
        self.identify?(self.connection.peer_certificates()?.first()?)
    }

    fn peer_warning(&self) -> Option<String> {
        let certificate = self.connection.peer_certificates()?.first()?;
        peer_warning(certificate, self.identify.is_some())
    }

    fn has_ended(&self) -> bool {
        // In TLS 1.3 a peer may send `close_notify` and still read. MQTT has no half-closed connections, so
        // `close_notify` ends both directions.
        self.peer_closed
    }

    fn close(&mut self, down: &mut Vec<u8>) {
        self.connection.send_close_notify();
        let _ = self.flush(down); // Writing to memory cannot fail.
    }

    fn end(&mut self) -> io::Result<()> {
        if self.is_open() && !self.peer_closed {
            // Without `close_notify`, an attacker on the network may have cut the connection to suppress the last data.
            Err(TlsError::Truncated.into())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{TlsClient, TlsClientOptions, TlsServer, TlsServerOptions};
    use rustls::HandshakeKind;

    /// Returns a client and a server that the client trusts.
    fn ends() -> (TlsClient, TlsServer) {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let trust = TlsClientOptions {
            ca_file: Some(certificate.clone()),
            ..TlsClientOptions::default()
        };
        let options = TlsServerOptions {
            certificate,
            key,
            ..TlsServerOptions::default()
        };
        let client = TlsClient::new(&trust).unwrap();
        (client, TlsServer::new(&options).unwrap())
    }

    /// Completes a handshake and sends a byte to the client. Returns the kind of the client's handshake.
    fn connect(client: &TlsClient, server: &TlsServer) -> HandshakeKind {
        let (mut client, mut server, mut to_client) = shake_hands(client, server);
        let (mut up, mut down) = (Vec::new(), Vec::new());
        server.send(b"x", &mut to_client).unwrap();
        client.receive(&to_client, &mut up, &mut down).unwrap();
        assert_eq!(up, b"x");
        client.connection.handshake_kind().unwrap()
    }

    /// Completes a handshake. Returns both ends, and the bytes that the client has not received yet.
    fn shake_hands(
        client: &TlsClient,
        server: &TlsServer,
    ) -> (
        TlsLayer<rustls::ClientConnection>,
        TlsLayer<rustls::ServerConnection>,
        Vec<u8>,
    ) {
        let name = TlsClient::server_name("localhost").unwrap();
        let mut client = TlsLayer::new(client.connection(name).unwrap());
        let mut server = TlsLayer::of_server(server.connection().unwrap(), None);
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        client.start(&mut to_server).unwrap();
        while !client.is_open() || !server.is_open() || !to_server.is_empty() {
            let mut ignore = Vec::new();
            let bytes = std::mem::take(&mut to_server);
            server.receive(&bytes, &mut ignore, &mut to_client).unwrap();
            let bytes = std::mem::take(&mut to_client);
            client.receive(&bytes, &mut ignore, &mut to_server).unwrap();
        }
        (client, server, to_client)
    }

    #[test]
    fn bytes_before_an_invalid_record_are_delivered() {
        let (client, server) = ends();
        let (mut client, mut server, _) = shake_hands(&client, &server);
        let mut record = Vec::new();
        server.send(b"last words", &mut record).unwrap();
        record.extend([23, 3, 3, 0, 20]);
        record.extend([0; 20]);
        let (mut up, mut down) = (Vec::new(), Vec::new());
        assert!(client.receive(&record, &mut up, &mut down).is_err());
        assert_eq!(up, b"last words");
    }

    #[test]
    fn close_notify_ends_the_layer_while_the_socket_is_open() {
        let (client, server) = ends();
        let (mut client, mut server, _) = shake_hands(&client, &server);
        let (mut up, mut down, mut record) = (Vec::new(), Vec::new(), Vec::new());
        client.send(b"last words", &mut record).unwrap();
        client.close(&mut record);
        server.receive(&record, &mut up, &mut down).unwrap();
        assert_eq!(up, b"last words");
        assert!(Layer::has_ended(&server));
    }

    #[test]
    fn reconnecting_resumes_the_tls_session() {
        let (client, server) = ends();
        assert_eq!(connect(&client, &server), HandshakeKind::Full);
        assert_eq!(connect(&client, &server), HandshakeKind::Resumed);
    }
}
