//! A small blocking MQTT client.
//!
//! [`Client`] is for programs that publish, or receive, and do nothing else meanwhile:
//!
//! ```no_run
//! use mqtt_client::{Client, Options, QoS};
//!
//! fn main() -> Result<(), mqtt_client::ClientError> {
//!     let mut client = Client::connect(Options::new("localhost", 1883))?;
//!     for reading in ["21.5", "21.7", "22.0"] {
//!         client.publish("kitchen/temperature", reading, QoS::ExactlyOnce)?;
//!     }
//!     client.disconnect() // returns when the broker has all of them
//! }
//! ```
//!
//! ```no_run
//! use mqtt_client::{Client, Options, QoS};
//!
//! fn main() -> Result<(), mqtt_client::ClientError> {
//!     let mut client = Client::connect(Options::new("localhost", 1883))?;
//!     client.subscribe("kitchen/#", QoS::AtLeastOnce)?;
//!     while let Some(message) = client.receive(None)? {
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
pub use client::Client;
pub use error::ClientError;
pub use event_loop::{EventLoop, Wakeup};
pub use options::{Options, PACKET_IDENTIFIERS, Reconnect};
pub use servers::Server;

pub use mqtt_codec::{Message, QoS};
pub use mqtt_session as session;
