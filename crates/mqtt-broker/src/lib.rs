//! The process around the core of the broker.
//!
//! [`Broker`](mqtt_broker_core::Broker) decides everything about MQTT. [`Server`] is the event loop around the core,
//! with the listeners, the sockets and the check of passwords. [`Store`] makes the mutations of the core durable.
//! [`BrokerConfig`] is the configuration, which is read from a file in the format of `mosquitto.conf`. The program
//! `rbroker`, in the crate `mqtt-cli`, uses these types.
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
mod config;
mod server;
mod store;

pub use auth::{AccessError, AccessFile, Hashing, PasswordHash, Passwords};
pub use config::{
    BrokerConfig, ConfigError, ControlSocket, ListenerConfig, LogConfig, LogDestination, LogTypes,
    Places, SecurityConfig, closest_name,
};
pub use mqtt_broker_core::{CONNECTIONS, EVENTS};
pub use server::{ListenError, LogFeed, LogKind, MemoryGauge, Report, Server, ServerError, check};
pub use store::{BootTime, Clock, Store, StoreError, SyncPolicy};

/// The code of the README, which is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
