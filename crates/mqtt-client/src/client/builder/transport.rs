//! [`TransportChoice`] stores the layers between the socket and MQTT that the application has chosen.

use mqtt_transport::ClientTransport;
#[cfg(feature = "proxy")]
use mqtt_transport::Proxy;
#[cfg(feature = "websocket")]
use mqtt_transport::WebSocketRequest;
#[cfg(feature = "tls")]
use mqtt_transport::{TlsClient, TlsClientOptions};

use super::url::TLS_PORT;
use crate::client::error::ConnectError;
use crate::servers::Server;

/// TLS options. Without the feature `tls` this type is empty.
#[cfg(feature = "tls")]
type TlsOptions = TlsClientOptions;
#[cfg(not(feature = "tls"))]
type TlsOptions = ();

/// Choice of TLS.
#[derive(Debug, Clone, Default)]
pub(super) enum TlsChoice {
    /// The scheme of the URL and the port determine whether the client uses TLS.
    #[default]
    Default,
    Never,
    With(Box<TlsOptions>),
}

/// Layers that the application has chosen.
#[derive(Clone, Default)]
pub(super) struct TransportChoice {
    pub(super) tls: TlsChoice,
    #[cfg(feature = "websocket")]
    pub(super) websocket: Option<WebSocketRequest>,
    #[cfg(feature = "proxy")]
    pub(super) proxy: Option<Proxy>,
}

impl TransportChoice {
    /// Applies the scheme of a URL. `path` is the path of the WebSocket request, or `None` for a scheme without
    /// WebSocket.
    pub(super) fn set_scheme(
        &mut self,
        has_tls: bool,
        path: Option<String>,
    ) -> Result<(), ConnectError> {
        if has_tls && matches!(self.tls, TlsChoice::Default) {
            self.tls = TlsChoice::With(Box::default());
        }
        #[cfg(not(feature = "websocket"))]
        if path.is_some() {
            return Err(missing_feature("websocket"));
        }
        #[cfg(feature = "websocket")]
        if let Some(path) = path {
            let request = self.websocket.get_or_insert_with(|| WebSocketRequest {
                path: String::new(),
                headers: Vec::new(),
            });
            request.path = path;
        }
        Ok(())
    }

    /// Uses TLS with these options.
    #[cfg(feature = "tls")]
    pub(super) fn set_tls(&mut self, options: TlsClientOptions) {
        self.tls = TlsChoice::With(Box::new(options));
    }

    /// Uses TLS, and changes the TLS options.
    #[cfg(feature = "tls")]
    pub(super) fn change_tls_options(&mut self, change: impl FnOnce(&mut TlsClientOptions)) {
        let mut options = match std::mem::take(&mut self.tls) {
            TlsChoice::With(options) => options,
            TlsChoice::Default | TlsChoice::Never => Box::default(),
        };
        change(&mut options);
        self.tls = TlsChoice::With(options);
    }

    /// Disables TLS.
    pub(super) fn forbid_tls(&mut self) {
        self.tls = TlsChoice::Never;
    }

    /// Returns `transport` with these layers.
    pub(super) fn layers(
        self,
        #[allow(unused_mut)] // without features there is no layer
        mut transport: ClientTransport,
        servers: &[Server],
    ) -> Result<ClientTransport, ConnectError> {
        let is_tls_port =
            |server: &&Server| matches!(server, Server::Network { port: TLS_PORT, .. });
        let at_tls_port = servers.iter().filter(is_tls_port).count();
        let has_websocket = self.has_websocket();
        let tls = match self.tls {
            TlsChoice::With(options) => Some(options),
            // With WebSocket, only the scheme `wss` means TLS, and `set_scheme` has already applied it.
            TlsChoice::Default if has_websocket => None,
            TlsChoice::Default if at_tls_port == servers.len() => Some(Box::default()),
            // All servers have the same layers. With TLS the client could not connect to the other ports. Without TLS
            // it would send its credentials in plain text to port 8883.
            TlsChoice::Default if at_tls_port > 0 => {
                let text = "only some of the servers have port 8883 (call tls or without_tls to choose for all)";
                return Err(ConnectError::invalid_option("TLS", text));
            }
            TlsChoice::Default | TlsChoice::Never => None,
        };
        #[cfg(not(feature = "tls"))]
        if tls.is_some() {
            return Err(missing_feature("tls"));
        }
        #[cfg(feature = "tls")]
        if let Some(options) = tls {
            let tls = TlsClient::new(&options)
                .map_err(|error| ConnectError::invalid_option("TLS", error.to_string()))?;
            transport = transport.with_tls(tls);
        }
        #[cfg(feature = "websocket")]
        if let Some(request) = self.websocket {
            transport = transport.with_websocket(request);
        }
        #[cfg(feature = "proxy")]
        if let Some(proxy) = self.proxy {
            transport = transport.with_proxy(proxy);
        }
        Ok(transport)
    }

    #[cfg(feature = "websocket")]
    fn has_websocket(&self) -> bool {
        self.websocket.is_some()
    }

    #[cfg(not(feature = "websocket"))]
    #[allow(clippy::unused_self)] // the same call with the feature
    fn has_websocket(&self) -> bool {
        false
    }
}

/// Returns the error for an option whose feature is off.
#[cfg(not(all(feature = "tls", feature = "websocket")))]
fn missing_feature(feature: &'static str) -> ConnectError {
    ConnectError::invalid_option(
        feature,
        format!("mqtt-client was built without its feature {feature:?}"),
    )
}
