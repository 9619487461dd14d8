//! Client for applications: any thread can publish, subscribe and receive. The files here add a thread, bounded queues
//! and results to the event loop of the crate. They contain no rules of MQTT.

#[cfg(feature = "async")]
mod asynchronous;
mod builder;
mod completion;
mod driver;
mod error;
mod event_queue;
mod events;
mod failures;
mod handle;
mod handover;
mod in_flight;
mod inbound;
mod inbox;
mod limits;
mod messages;
mod outbox;
mod shared;
mod statistics;
mod subscribing;
mod subscriptions;
mod token;
mod waiting;
#[cfg_attr(not(feature = "async"), path = "no_wakers.rs")]
mod wakers;

#[cfg(feature = "async")]
pub use asynchronous::{AsyncClient, EventStream, MessageStream};
pub use builder::{ClientBuilder, SessionRetention};
pub use error::{ConnectError, DisconnectError, PublishError, SubscribeError};
pub use event_queue::ClientEvent;
pub use events::Events;
pub use handle::Client;
pub use inbound::InboundMessage;
pub use messages::Messages;
pub use statistics::Statistics;
pub use token::PublishToken;
