//! What lies between a socket and MQTT: the layers of a client's connection ([`Route`]) and of a
//! listener's ([`Door`]).

use std::io;

use rustls::pki_types::ServerName;

use crate::layer::Layer;
use crate::layer::socks5::{Credentials, Socks5Layer};
use crate::layer::websocket::WebSocketLayer;
use crate::tls::{TlsClient, TlsError, TlsServer, TlsSetupError};

/// The way of a client to its server, above the socket. Nothing by default: plain bytes.
///
/// Layers stand in this order, whatever the order they were named in: proxy, TLS, WebSocket, MQTT.
#[derive(Debug, Clone, Default)]
pub struct Route {
    proxy: Option<(Proxy, String, u16)>,
    tls: Option<(TlsClient, ServerName<'static>)>,
    websocket: Option<WebSocketRoute>,
}

/// What a client asks a server for, to speak WebSocket with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketRoute {
    /// What the server calls itself, perhaps with a port.
    pub host: String,
    /// Begins with a slash.
    pub path: String,
    /// Further headers, each `Name: value` on one line.
    pub headers: Vec<String>,
}

/// A SOCKS5 proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What it may ask for.
    pub credentials: Option<Credentials>,
}

impl Route {
    /// By way of a proxy, to this server, whose name the proxy looks up.
    pub fn with_proxy(mut self, proxy: Proxy, host: &str, port: u16) -> Self {
        self.proxy = Some((proxy, host.to_owned(), port));
        self
    }

    /// With TLS, to a server of this name or address.
    ///
    /// # Errors
    /// If no certificate can be for such a host.
    pub fn with_tls(mut self, tls: TlsClient, host: &str) -> Result<Self, TlsSetupError> {
        self.tls = Some((tls, TlsClient::server_name(host)?));
        Ok(self)
    }

    /// With WebSocket.
    pub fn with_websocket(mut self, websocket: WebSocketRoute) -> Self {
        self.websocket = Some(websocket);
        self
    }

    /// Where the socket goes to, if that is not the server.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref().map(|(proxy, ..)| proxy)
    }

    /// The layers of a new connection, the lowest first.
    pub(crate) fn layers(&self) -> io::Result<Vec<Box<dyn Layer>>> {
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        if let Some((proxy, host, port)) = &self.proxy {
            let layer = Socks5Layer::new(host, *port, proxy.credentials.clone());
            layers.push(Box::new(layer));
        }
        if let Some((tls, server_name)) = &self.tls {
            let layer = tls.layer(server_name.clone()).map_err(TlsError::from)?;
            layers.push(Box::new(layer));
        }
        if let Some(websocket) = &self.websocket {
            let WebSocketRoute {
                host,
                path,
                headers,
            } = websocket;
            layers.push(Box::new(WebSocketLayer::client(host, path, headers)));
        }
        Ok(layers)
    }
}

/// The way of clients to a listener, above the socket. Nothing by default: plain bytes.
#[derive(Debug, Clone, Default)]
pub struct Door {
    tls: Option<TlsServer>,
    /// With the origins that pages may come from; any if there are none.
    websocket: Option<Vec<String>>,
}

impl Door {
    /// With TLS.
    pub fn with_tls(mut self, tls: TlsServer) -> Self {
        self.tls = Some(tls);
        self
    }

    /// With WebSocket. Pages of browsers may come from these origins only, if there are any.
    pub fn with_websocket(mut self, origins: Vec<String>) -> Self {
        self.websocket = Some(origins);
        self
    }

    /// The layers of a new connection, the lowest first.
    pub(crate) fn layers(&self) -> io::Result<Vec<Box<dyn Layer>>> {
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        if let Some(tls) = &self.tls {
            let layer = tls.layer().map_err(TlsError::from)?;
            layers.push(Box::new(layer));
        }
        if let Some(origins) = &self.websocket {
            layers.push(Box::new(WebSocketLayer::server(origins.clone())));
        }
        Ok(layers)
    }
}
