//! The process around the broker core: sockets, listeners, commits, passwords, signals and reports.
//!
//! One thread runs a loop of turns, which `event_loop.rs` describes. Each part of the loop's state has an owner in a
//! file of its own. No module here decides about MQTT: the server passes bytes to the core, and writes the output of
//! the core to the sockets.

mod acceptor;
mod commit_queue;
mod commits;
mod error;
mod event_loop;
mod interface;
mod listener;
mod listener_policy;
mod log_feed;
mod memory;
mod password_checks;
mod reload;
mod reports;
mod reserve;
mod signals;
#[cfg(test)]
mod slow_disk;
mod sockets;
#[cfg(unix)]
mod status;
mod supervision;
mod tokens;

pub use error::{ListenError, ServerError};
pub use event_loop::Server;
pub use listener_policy::check;
pub use log_feed::{LogFeed, LogKind};
pub use memory::MemoryGauge;
pub use supervision::Report;
