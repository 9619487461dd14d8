//! The only code that reads and writes sockets. It knows no MQTT: bytes come out as they came in.
//!
//! Nothing here blocks but [`resolve`], which has a deadline: a [`LookUp`] has a thread of its own. A
//! [`Connector`] tries the addresses of a name one after the other, a [`Listener`] accepts, both give a [`Stream`]; a [`ReadBuffer`] keeps
//! what was read until its reader has understood it.
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
mod read_buffer;
mod reason;
mod service;
mod socket;
mod stream;
mod tls;

pub use address::{LookUp, Resolver, resolve, split_host_and_port};
pub use client_transport::{ClientTransport, Proxy, ProxyProtocol, WebSocketRequest};
pub use connector::{Connecting, Connector};
pub use layer::{Credentials, HandshakeError, LayerKind, Layers, ProxyError, WebSocketError};
pub use listener::Listener;
#[cfg(unix)]
pub use listener::check_socket_path;
pub use listener_transport::ListenerTransport;
pub use read_buffer::ReadBuffer;
pub use reason::reason;
pub use service::NameServers;
pub use stream::{ReadStatus, Stream};
pub use tls::{
    PeerIdentity, TlsClient, TlsClientOptions, TlsError, TlsServer, TlsServerOptions,
    TlsSetupError, TlsVersion,
};
