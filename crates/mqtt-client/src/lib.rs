//! An MQTT client that publishes, subscribes and receives from any thread, and reconnects by itself.
//!
//! [`Client`] is for programs that publish or receive. A thread of its own keeps the connection up:
//!
//! ```no_run
//! use mqtt_client::{Client, Options, QoS};
//! use std::time::Duration;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::connect(Options::new("localhost", 1883))?;
//!     for reading in ["21.5", "21.7", "22.0"] {
//!         client.publish("kitchen/temperature", reading, QoS::ExactlyOnce)?;
//!     }
//!     client.disconnect(Duration::from_secs(10))?; // returns when the broker has all of them
//!     Ok(())
//! }
//! ```
//!
//! ```no_run
//! use mqtt_client::{Client, Options, QoS};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::connect(Options::new("localhost", 1883))?;
//!     client.subscribe("kitchen/#", QoS::AtLeastOnce)?;
//!     for message in client.messages() {
//!         println!("{}: {:?}", message.topic_name, message.payload);
//!     }
//!     Ok(())
//! }
//! ```
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
pub use mqtt_transport::{
    Credentials, Proxy, ProxyProtocol, TlsClientOptions, TlsVersion, WebSocketRequest,
};
