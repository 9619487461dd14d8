//! The process around the core of the broker.
//!
//! [`Broker`](mqtt_broker_core::Broker) decides everything about MQTT. [`Server`] is the loop around it: listeners,
//! sockets, one turn after the other. [`Store`] keeps what the core says has to survive. [`Settings`] is what
//! mosquitto's configuration language says about both.
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
mod listening;

mod password_verifier;
mod peers;
mod rules;
mod server;
mod settings;
mod store;

pub use access::{AccessError, AccessFile, Hashing, PasswordHash, Passwords};
pub use mqtt_broker_core::{CONNECTIONS, EVENTS};
pub use rules::check;
pub use server::{ListenError, LogFeed, LogKind, MemoryGauge, Server, ServerError};
pub use settings::{
    ControlSocket, ListenerSettings, LogDestination, LogSettings, LogTypes, Places,
    SecuritySettings, Settings, SettingsError, closest_name,
};
pub use store::{BootTime, Clock, Store, StoreError, SyncPolicy};
