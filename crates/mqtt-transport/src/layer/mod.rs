//! Layers between a socket and MQTT: proxies, TLS and WebSocket. A layer is called with bytes and returns bytes. Layers
//! do no I/O. Therefore they can be combined in any order, only `stream.rs` reads and writes the socket, and tests run
//! in memory.
//!
//! ```text
//!  up      MQTT <── WebSocket <── TLS <── proxy <── socket
//!  down    MQTT ──> WebSocket ──> TLS ──> proxy ──> socket
//! ```

mod handshake_error;
#[cfg(feature = "proxy")]
pub(crate) mod http_proxy;
mod layers;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(feature = "proxy")]
pub(crate) mod socks5;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(feature = "websocket")]
pub(crate) mod websocket;

pub use handshake_error::{HandshakeError, LayerKind};
pub(crate) use layers::Layer;
pub use layers::Layers;
#[cfg(feature = "proxy")]
pub use proxy::{Credentials, ProxyError};
#[cfg(feature = "websocket")]
pub use websocket::WebSocketError;
