//! A minimal MQTT broker.
//!
//! [`Broker`] is the core: clients, sessions, subscriptions, retained messages, wills. It knows no
//! socket, thread, clock, file or random source; bytes and times come in as arguments, bytes go out.
//! [`Store`] keeps what the core says has to survive. [`Server`] is the loop around it: listeners, sockets, one turn after the other. [`Settings`] is
//! what mosquitto's configuration language says about both.
//!
//! ```text
//!  read ─> Broker::handle_input ─> routing ─> the subscribers' connections ─> write
//!          └───────────────────── one turn for all connections ────────────────────┘
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

mod access;
mod background;
mod block_queue;
mod broker;
mod check_queue;
mod checker;
mod client;
mod connect;
mod crowding;
mod delivering;
mod drops;
mod dump;
mod fan_out;
mod footprint;
mod input;
mod listening;
mod log_limiter;
mod log_words;
mod memory_limit;
mod peers;
mod promises;
mod publishing;
mod queue;
mod record;
mod redistributing;
mod replay;
mod restoring;
mod retained;
mod routing;
mod rules;
mod sending;
mod server;
mod session_owner;
mod settings;
mod small_map;
mod statistics;
mod store;
mod subscribers;
mod subscribing;
mod throttling;
mod timers;
mod topic_order;
mod topic_tree;
mod work;

pub use access::{
    Access, AccessError, AccessList, Hashing, IdentitySource, PasswordCheck, PasswordHash,
    Passwords, Right, Who,
};
pub use broker::{Broker, ConnectionId};
pub use client::{Expiry, SubscriptionState};
pub use record::{ClientState, Record, Saved, SavedClient, SavedDelivery};
pub use replay::ReplayState;
pub use retained::Retained;
pub use rules::check;
pub use server::{LogFeed, LogKind, MemoryGauge, Server, ServerError};
pub use settings::{
    Backlog, ControlSocket, Limits, ListenerLimits, ListenerSettings, LogDestination, LogSettings,
    LogTypes, SecuritySettings, Settings, SettingsError, closest_name,
};
pub use statistics::Value;
pub use store::{BootTime, Clock, Store, StoreError, SyncPolicy};
pub use work::InputProgress;

/// The log target of what concerns people: subscriptions, losses, refusals.
pub const EVENTS: &str = "mqtt::broker";

/// The log target of connections that come and go.
pub const CONNECTIONS: &str = "mqtt::broker::connections";
