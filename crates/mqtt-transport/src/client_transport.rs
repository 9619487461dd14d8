//! [`ClientTransport`] is the list of layers that a client puts between its socket and MQTT.

use std::io;

use crate::address::without_zone;
use crate::authority::is_host;
#[cfg(feature = "websocket")]
use crate::authority::with_port;
#[cfg(feature = "proxy")]
use crate::layer::Credentials;
#[cfg(feature = "proxy")]
use crate::layer::http_proxy::HttpProxyLayer;
#[cfg(feature = "proxy")]
use crate::layer::socks5::Socks5Layer;
#[cfg(feature = "tls")]
use crate::layer::tls::TlsLayer;
#[cfg(feature = "websocket")]
use crate::layer::websocket::WebSocketLayer;
use crate::layer::{Layer, Layers};
#[cfg(feature = "tls")]
use crate::tls::{TlsClient, TlsError};

/// Layers of a client between the socket and MQTT. Without layers (the default) the socket transmits plain MQTT.
///
/// The order of the layers does not depend on the order of the calls. From the socket to MQTT it is: proxy, TLS,
/// WebSocket. All servers of a client have the same layers. The server is an argument of [`ClientTransport::layers`].
#[derive(Debug, Clone, Default)]
pub struct ClientTransport {
    #[cfg(feature = "proxy")]
    proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    tls: Option<TlsClient>,
    #[cfg(feature = "websocket")]
    websocket: Option<WebSocketRequest>,
}

/// HTTP request that opens a WebSocket.
#[cfg(feature = "websocket")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketRequest {
    /// Path of the request, which must begin with a slash.
    pub path: String,
    /// Additional headers. Each one is a line `Name: value`.
    pub headers: Vec<String>,
}

/// Proxy that connects to the server. The proxy resolves the host name of the server.
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Protocol of the proxy.
    pub protocol: ProxyProtocol,
    /// Host name or address of the proxy.
    pub host: String,
    /// Port of the proxy.
    pub port: u16,
    /// Credentials, if the proxy requires them.
    pub credentials: Option<Credentials>,
}

/// Protocol of a proxy.
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// HTTP with the method CONNECT (RFC 9110).
    Http,
    /// SOCKS5 (RFC 1928).
    Socks5,
}

impl ClientTransport {
    /// Connects through `proxy`.
    #[cfg(feature = "proxy")]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Adds TLS.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, tls: TlsClient) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Adds WebSocket.
    #[cfg(feature = "websocket")]
    pub fn with_websocket(mut self, websocket: WebSocketRequest) -> Self {
        self.websocket = Some(websocket);
        self
    }

    /// Returns the host and port of the proxy. The socket must be connected to the proxy instead of the server.
    pub fn proxy(&self) -> Option<(&str, u16)> {
        #[cfg(feature = "proxy")]
        if let Some(proxy) = &self.proxy {
            return Some((&proxy.host, proxy.port));
        }
        None
    }

    /// Returns the layers for a new connection to this server.
    ///
    /// # Errors
    /// Returns an error if `host` is not a host name, or if TLS is used and a certificate cannot contain such a name.
    #[cfg_attr(
        not(any(feature = "proxy", feature = "websocket")),
        allow(unused_variables)
    )]
    pub fn layers(&self, host: &str, port: u16) -> io::Result<Layers> {
        #[allow(unused_mut)] // without features there is no layer
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        let host = &*without_zone(host);
        if !is_host(host) {
            // A line break in the name would add a header to the request to a proxy or a WebSocket server.
            let text = "the host name contains invalid characters";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // The proxy resolves the host name, so that names work that only the network of the proxy can resolve.
        #[cfg(feature = "proxy")]
        if let Some(proxy) = &self.proxy {
            let credentials = proxy.credentials.clone();
            layers.push(match proxy.protocol {
                ProxyProtocol::Http => Box::new(HttpProxyLayer::new(host, port, credentials)),
                ProxyProtocol::Socks5 => Box::new(Socks5Layer::new(host, port, credentials)),
            });
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            // The TLS handshake goes through the proxy to the server, so the certificate must be that of the server.
            let server_name = TlsClient::server_name(host)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let connection = tls.connection(server_name).map_err(TlsError::from)?;
            layers.push(Box::new(TlsLayer::new(connection)));
        }
        #[cfg(feature = "websocket")]
        if let Some(WebSocketRequest { path, headers }) = &self.websocket {
            let host = with_port(host, port);
            layers.push(Box::new(WebSocketLayer::client(&host, path, headers)));
        }
        Ok(Layers::new(layers))
    }
}

#[cfg(all(test, feature = "websocket"))]
mod tests {
    use super::*;

    fn websocket() -> ClientTransport {
        ClientTransport::default().with_websocket(WebSocketRequest {
            path: "/mqtt".into(),
            headers: Vec::new(),
        })
    }

    #[test]
    fn rejects_server_names_that_would_inject_a_header() {
        for host in ["a\r\nX: y", "a b", "", "a\u{1b}[2J"] {
            assert!(websocket().layers(host, 1).is_err(), "{host:?}");
        }
    }

    #[test]
    fn ipv6_address_is_written_in_brackets() {
        for (host, expected) in [
            ("::1", "[::1]:1"),
            ("[fe80::1%eth0]", "[fe80::1]:1"),
            ("h", "h:1"),
        ] {
            let mut layers = websocket().layers(host, 1).unwrap();
            layers.start().unwrap();
            let request = String::from_utf8(layers.output().to_vec()).unwrap();
            assert!(
                request.contains(&format!("\r\nHost: {expected}\r\n")),
                "{request}"
            );
        }
    }
}
