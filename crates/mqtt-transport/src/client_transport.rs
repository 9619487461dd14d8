//! The transport of a client's connections: the layers between a socket and MQTT.

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

/// The layers of a client between its socket and MQTT. Without layers (the default) a socket carries plain MQTT.
///
/// The order of the layers does not depend on the order of the calls: the proxy is next to the socket, then TLS, then
/// WebSocket. All servers of a client have the same layers; [`ClientTransport::layers`] gets the server as an argument.
#[derive(Debug, Clone, Default)]
pub struct ClientTransport {
    #[cfg(feature = "proxy")]
    proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    tls: Option<TlsClient>,
    #[cfg(feature = "websocket")]
    websocket: Option<WebSocketRequest>,
}

/// The request that opens a WebSocket.
#[cfg(feature = "websocket")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketRequest {
    /// The path of the request, which begins with a slash.
    pub path: String,
    /// Additional headers, each a line `Name: value`.
    pub headers: Vec<String>,
}

/// A proxy that connects to the server and looks the server's name up.
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The protocol of the proxy.
    pub protocol: ProxyProtocol,
    /// The host name or address of the proxy.
    pub host: String,
    /// The port of the proxy.
    pub port: u16,
    /// The credentials for a proxy that requires some.
    pub credentials: Option<Credentials>,
}

/// The protocol of a proxy.
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// HTTP, with CONNECT.
    Http,
    /// SOCKS5.
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

    /// Returns the host and port of the proxy, to which the socket must be connected instead of the server.
    pub fn proxy(&self) -> Option<(&str, u16)> {
        #[cfg(feature = "proxy")]
        if let Some(proxy) = &self.proxy {
            return Some((&proxy.host, proxy.port));
        }
        None
    }

    /// Creates the layers of a new connection to this server.
    ///
    /// # Errors
    /// If `host` is not a host name, or TLS is used and no certificate can name such a host.
    #[cfg_attr(
        not(any(feature = "proxy", feature = "websocket")),
        allow(unused_variables)
    )]
    pub fn layers(&self, host: &str, port: u16) -> io::Result<Layers> {
        #[allow(unused_mut)] // without features there is no layer
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        let host = &*without_zone(host);
        if !is_host(host) {
            // A line break in the name would add headers to the request to a proxy or a WebSocket server.
            let text = "the host name contains invalid characters";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // The proxy resolves the host name, so that names that only its network knows work.
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
            // The certificate must be that of the server, not of the proxy.
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
    fn a_name_of_a_server_is_no_header() {
        for host in ["a\r\nX: y", "a b", "", "a\u{1b}[2J"] {
            assert!(websocket().layers(host, 1).is_err(), "{host:?}");
        }
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets() {
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
