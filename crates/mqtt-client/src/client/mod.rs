//! The client for applications: publish, subscribe and receive from any thread.

mod builder;
mod completion;
mod driver;
mod error;
mod event_queue;
mod events;
mod failures;
mod handle;
mod in_flight;
mod inbound;
mod inbox;
mod limits;
mod messages;
mod outbox;
mod shared;
mod statistics;
mod subscriptions;
mod token;
mod waiting;

pub use builder::{ClientBuilder, SessionRetention};
pub use error::{ConnectError, DisconnectError, PublishError, SubscribeError};
pub use event_queue::ClientEvent;
pub use events::Events;
pub use handle::Client;
pub use inbound::InboundMessage;
pub use messages::Messages;
pub use statistics::Statistics;
pub use token::PublishToken;
