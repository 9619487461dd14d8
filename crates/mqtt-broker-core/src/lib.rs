//! The core of the broker: clients, sessions, subscriptions, retained messages, wills and permissions.
//!
//! [`Broker`] uses no socket, file, thread, clock or random source. The caller passes in bytes and times, and gets back
//! bytes and [`Mutation`]s. The same inputs therefore give the same run in the server, in the simulation and in a fuzz
//! target. The crate `mqtt-broker` is the process around this crate: the configuration, the store and the sockets.
//!
//! ```text
//!  read ─> Broker::handle_input ─> routing ─> the subscribers' connections ─> write
//!          └───────────────────── one turn for all connections ────────────────────┘
//! ```
//!
//! The modules form layers, and each uses only those below it:
//!
//! ```text
//!  interface                     the methods of Broker
//!  packets, background           the handling of packets, and the work that no packet causes
//!  lifecycle                     the beginning and the end of sessions, the end of connections
//!  routing                       the delivery of a message to its subscribers
//!  durability, flow, stats       changes to store, limits of the work of a call, counters
//!  sessions, topics, auth        the state of clients, topics and permissions
//! ```
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

mod auth;
mod background;
mod broker;
mod connection;
mod durability;
mod flow;
mod footprint;
mod interface;
mod keys;
mod lifecycle;
mod limits;
mod log_lines;
mod packets;
mod resources;
mod routing;
mod sessions;
mod stats;
mod task;
mod timers;
mod topics;

pub use auth::acl::{AccessList, AclAction};
pub use auth::check_queue::PasswordCheck;
pub use auth::policy::{IdentitySource, ListenerPolicy, Principal};
pub use broker::Broker;
pub use durability::mutation::{ClientState, Mutation, payload_bytes};
pub use durability::snapshot::{ClientSnapshot, DeliverySnapshot, Snapshot};
pub use flow::work::InputProgress;
pub use keys::ConnectionId;
pub use limits::{Backlog, Limits, ListenerLimits};
pub use log_lines::limiter::{LogEvent, LogLimiter};
pub use log_lines::targets::{CONNECTIONS, EVENTS};
pub use sessions::client::Expiry;
pub use sessions::retained_replays::RetainedReplayState;
pub use stats::value::Value;
pub use topics::retained::Retained;
pub use topics::subscriptions::SubscriptionState;

/// The code of the README, which is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
