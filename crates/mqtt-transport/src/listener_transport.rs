//! [`ListenerTransport`] is the list of layers that a listener puts between its sockets and MQTT.

use std::io;

#[cfg(feature = "tls")]
use crate::layer::tls::TlsLayer;
#[cfg(feature = "websocket")]
use crate::layer::websocket::WebSocketLayer;
use crate::layer::{Layer, Layers};
#[cfg(feature = "tls")]
use crate::tls::{TlsError, TlsServer};

/// Layers of a listener's connections between the socket and MQTT. Without layers (the default) the socket transmits
/// plain MQTT.
#[derive(Debug, Clone, Default)]
pub struct ListenerTransport {
    #[cfg(feature = "tls")]
    tls: Option<TlsServer>,
    /// Permitted origins of web pages. An empty list permits all origins.
    #[cfg(feature = "websocket")]
    websocket: Option<Vec<String>>,
}

impl ListenerTransport {
    /// Adds TLS.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, tls: TlsServer) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Adds WebSocket. A request of a web page must have one of `origins`, unless the list is empty.
    #[cfg(feature = "websocket")]
    pub fn with_websocket(mut self, origins: Vec<String>) -> Self {
        self.websocket = Some(origins);
        self
    }

    /// Returns the layers for a new connection.
    ///
    /// # Errors
    /// Returns an error if rustls cannot create a connection.
    pub fn layers(&self) -> io::Result<Layers> {
        #[allow(unused_mut)] // without features there is no layer
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let connection = tls.connection().map_err(TlsError::from)?;
            layers.push(Box::new(TlsLayer::of_server(connection, tls.revoked())));
        }
        #[cfg(feature = "websocket")]
        if let Some(origins) = &self.websocket {
            layers.push(Box::new(WebSocketLayer::server(origins.clone())));
        }
        Ok(Layers::new(layers))
    }
}
