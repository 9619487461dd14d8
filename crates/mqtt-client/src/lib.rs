//! An MQTT client that publishes, subscribes and receives from any thread, and reconnects by itself.
//!
//! # Publish
//!
//! The URL of a broker is `mqtt://HOST`, `mqtts://USER:PASSWORD@HOST:PORT`, `ws://HOST/PATH` or `wss://HOST`.
//!
//! ```
//! use mqtt_client::{Client, QoS};
//! use std::time::Duration;
//!
//! # let broker = mqtt_test_broker::TestBroker::start();
//! # let url = broker.url();
//! let client = Client::builder().url(&url)?.connect()?;
//! for reading in ["21.5", "21.7", "22.0"] {
//!     client.publish("kitchen/temperature", reading, QoS::ExactlyOnce)?;
//! }
//! client.disconnect(Duration::from_secs(10))?; // returns when the broker has all of them
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Client::publish`] returns a token when the message is in the outgoing queue. The queue is bounded: while it is full,
//! the call waits, and fails after a timeout. [`PublishToken::wait`] and [`Client::publish_and_wait`] wait for the
//! acknowledgement of the broker.
//!
//! # Subscribe
//!
//! ```
//! use mqtt_client::{Client, QoS};
//!
//! # let broker = mqtt_test_broker::TestBroker::start();
//! # let url = broker.url();
//! let client = Client::builder().url(&url)?.connect()?;
//! client.subscribe("kitchen/#", QoS::AtLeastOnce)?;
//! # client.publish("kitchen/temperature", "21.5", QoS::AtLeastOnce)?;
//! for message in client.messages() {
//!     println!("{}: {:?}", message.topic_name, message.payload);
//! #   break;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # TLS, user name and password
//!
//! ```no_run
//! # #[cfg(feature = "tls")] {
//! use mqtt_client::Client;
//!
//! let client = Client::builder()
//!     .url("mqtts://me@broker.example.org")?
//!     .password("secret")
//!     .connect()?;
//! # }
//! # Ok::<(), mqtt_client::ConnectError>(())
//! ```
//!
//! The scheme `mqtts` and port 8883 mean TLS. The certificate authorities of the system are trusted, unless
//! [`ClientBuilder::ca_file`] or [`ClientBuilder::tls`] name others.
//!
//! # Lost connections
//!
//! The client reconnects by itself, with growing waits, and subscribes again if the server has lost the session.
//!
//! - A message of QoS 1 or 2 that `publish` has accepted is resent until the server acknowledges it, as long as the
//!   program runs.
//! - Publishing a message of QoS 0 while there is no connection is an error. If the connection is lost before the message
//!   is sent, its token says so, and [`Client::statistics`] counts it. Once its bytes are with the operating system, nobody
//!   can tell whether it has arrived: use QoS 1 for messages that matter.
//! - [`Client::events`] tells when and why the connection was lost.
//!
//! [`SessionRetention`] has the server keep subscriptions and messages while the client is not connected. A worker that
//! must not lose a job uses it together with [`Messages::with_manual_acknowledgement`].
//!
//! # Cargo features
//!
//! | Feature | |
//! | --- | --- |
//! | `tls` (default) | TLS, with the certificate authorities of the system |
//! | `websocket` | WebSocket: the schemes `ws` and `wss` |
//! | `proxy` | HTTP and SOCKS5 proxies |
//! | `srv` | service records of DNS: [`Server::Service`] |
//! | `serde` | serialization of messages and packets |
//!
//! A scheme or an option whose feature is off is an error.
//!
//! # Threads
//!
//! [`Client`] is `Clone`, `Send` and `Sync`. Any thread can publish, subscribe and receive. A thread of the library runs the
//! connection. `examples/` has a worker pool, request and response, and a loop of the application around the core without
//! I/O ([`ClientCore`]).
//!
//! [`EventLoop`] is for programs that also wait for other input, deadlines or signals. One call of [`EventLoop::poll`]
//! runs one turn of the loop and passes each event to the program. [`Client`] is made of it.
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

mod backoff;
mod client;
mod core;
mod dialer;
mod error;
mod event_loop;
mod options;
mod oversized;
mod servers;

pub use self::core::ClientCore;
pub use backoff::Backoff;
pub use client::{
    Client, ClientBuilder, ClientEvent, ConnectError, DisconnectError, Events, InboundMessage,
    Messages, PublishError, PublishToken, SessionRetention, Statistics, SubscribeError,
};
pub use error::ClientError;
pub use event_loop::{EventLoop, Wakeup};
pub use options::{Options, PACKET_IDENTIFIERS, Reconnect};
pub use servers::Server;

pub use bytes::Bytes;
pub use mqtt_codec as codec;
pub use mqtt_codec::{
    Connack, Message, MessageProperties, Property, ProtocolVersion, QoS, ReasonCode,
    RetainHandling, SubscribeProperties, Subscription, SubscriptionIdentifier, SubscriptionOptions,
    TopicFilter, TopicName,
};
pub use mqtt_session as session;
pub use mqtt_transport as transport;
#[cfg(feature = "websocket")]
pub use mqtt_transport::WebSocketRequest;
#[cfg(feature = "proxy")]
pub use mqtt_transport::{Credentials, Proxy, ProxyProtocol};
#[cfg(feature = "tls")]
pub use mqtt_transport::{TlsClientOptions, TlsVersion};
