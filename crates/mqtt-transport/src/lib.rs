//! Sockets, and the layers between a socket and MQTT: TLS, WebSocket and proxies. All sockets of peers are read and
//! written in this crate only. The crate does not interpret MQTT.
//!
//! A client looks up a host name with a [`LookUp`], connects to one of the addresses with a [`Connector`], and adds the
//! layers of its [`ClientTransport`] to the [`Stream`]. A broker accepts streams from a [`Listener`], which adds the
//! layers of a [`ListenerTransport`]. A [`ReadBuffer`] stores received bytes until a decoder has consumed whole
//! packets.
//!
//! Of the functions in this crate only [`resolve`] and [`Worker::wait`] block for a peer or a thread, and both have a
//! timeout. Every look-up runs in its own thread. A program runs its own blocking calls in a [`Worker`].
//!
//! # Cargo features
//!
//! `tls`, `websocket`, `proxy` and `srv` (service records) are on by default.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod address;
mod authority;
mod client_transport;
mod connector;
mod layer;
mod listener;
mod listener_transport;
#[cfg(any(target_env = "musl", all(test, unix)))]
mod multicast_dns;
mod read_buffer;
mod reason;
#[cfg(feature = "srv")]
mod service;
mod socket;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod worker;

pub use address::{LookUp, Resolver, resolve, split_host_and_port};
pub use client_transport::ClientTransport;
#[cfg(feature = "websocket")]
pub use client_transport::WebSocketRequest;
#[cfg(feature = "proxy")]
pub use client_transport::{Proxy, ProxyProtocol};
pub use connector::{Connecting, Connector};
#[cfg(feature = "websocket")]
pub use layer::WebSocketError;
#[cfg(feature = "proxy")]
pub use layer::{Credentials, ProxyError};
pub use layer::{HandshakeError, LayerKind, Layers};
pub use listener::Listener;
#[cfg(unix)]
pub use listener::{check_socket_path, remove_stale_socket};
pub use listener_transport::ListenerTransport;
pub use read_buffer::ReadBuffer;
pub use reason::reason;
#[cfg(feature = "srv")]
pub use service::NameServers;
pub use stream::{ReadStatus, Stream};
#[cfg(feature = "tls")]
pub use tls::{
    PeerIdentity, TlsClient, TlsClientOptions, TlsError, TlsServer, TlsServerOptions,
    TlsSetupError, TlsVersion,
};
pub use worker::{Worker, WorkerError};
