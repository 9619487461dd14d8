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
//! [`Client::publish`] returns a token when the message is in the outgoing queue. The queue is bounded. While it is
//! full, the call blocks, and after a timeout it returns an error. [`PublishToken::wait`] and
//! [`Client::publish_and_wait`] block until the broker acknowledges the message.
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
//! The scheme `mqtts` and port 8883 mean TLS. The client trusts the certificate authorities of the operating system,
//! unless [`ClientBuilder::ca_file`] or [`ClientBuilder::tls`] configure others.
//!
//! # Lost connections
//!
//! The client reconnects automatically, with growing waits. If the server has lost the session, the client subscribes
//! again.
//!
//! - A message of QoS 1 or 2 that `publish` has accepted is resent until the server acknowledges it or the program
//!   ends.
//! - Publishing a message of QoS 0 without a connection is an error. If the connection is lost before the message is
//!   sent, the token of the message returns an error, and [`Client::statistics`] counts the message. After the
//!   operating system has accepted the bytes, the client cannot find out whether the message has arrived. Use QoS 1 for
//!   messages that matter.
//! - [`Client::events`] reports when and why the connection was lost.
//!
//! With [`SessionRetention`] the server keeps subscriptions and messages while the client is not connected. A worker
//! that must not lose a job needs [`Messages::with_manual_acknowledgement`] in addition.
//!
//! # Asynchronous programs
//!
//! With the feature `async`, [`ClientBuilder`] has `connect_async`, and `AsyncClient` is the same client with futures.
//! They run in tokio, smol and every other runtime, because they need no part of it: the thread of the library drives
//! the connection and wakes them. The documentation of `AsyncClient` describes what a dropped future does.
//!
//! There is no feature for one runtime. A connection as a task of tokio would need a second event loop with its own
//! timers and TLS, and a slow task of the application would delay PINGREQ.
//!
//! ```
//! # #[cfg(feature = "async")]
//! # async fn example(url: &str) -> Result<(), Box<dyn std::error::Error>> {
//! use mqtt_client::{Client, QoS};
//!
//! let client = Client::builder().url(url)?.connect_async().await?;
//! client.subscribe("kitchen/#", QoS::AtLeastOnce).await?;
//! client.publish_and_wait("kitchen/temperature", "21.5", QoS::AtLeastOnce).await?;
//! let message = client.messages().receive().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Cargo features
//!
//! | Feature | |
//! | --- | --- |
//! | `tls` (default) | TLS, with the certificate authorities of the system |
//! | `async` | futures and streams for any runtime: `AsyncClient` |
//! | `websocket` | WebSocket: the schemes `ws` and `wss` |
//! | `proxy` | HTTP and SOCKS5 proxies |
//! | `srv` | service records of DNS: [`Server::Service`] |
//! | `serde` | serialization of messages and packets |
//!
//! A scheme or an option whose feature is off is an error.
//!
//! # Threads
//!
//! [`Client`] is `Clone`, `Send` and `Sync`. Any thread can publish, subscribe and receive. A thread of the library
//! handles the connection. While messages arrive quickly, an application with one [`Messages`] handles the connection in
//! the thread that waits for messages. This saves a wake-up for each message. The thread of the library takes over again
//! when the application does something else for two milliseconds. The folder `examples/` has a worker pool, a request
//! with its response, and an application with its own loop around [`ClientCore`], the part of the client without I/O.
//!
//! [`EventLoop`] is for programs that also wait for other input, deadlines or signals. One call of [`EventLoop::poll`]
//! runs one turn of the loop and passes each event to the program. [`Client`] is built on [`EventLoop`].
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

pub use self::core::{ClientCore, Rejected};
pub use backoff::Backoff;
#[cfg(feature = "async")]
pub use client::{AsyncClient, EventStream, MessageStream};
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

/// The code of the README, which is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
