//! An MQTT connection, and the session that outlives the connection, as a state machine without I/O. The same state
//! machine serves clients, brokers, tests and the simulator. The caller owns sockets, clocks, files and random numbers.
//!
//! ```text
//!  bytes in ──> Connection::handle_input ──> Event ──> application ──┐
//!                                                                    │ publish, acknowledge,
//!  bytes out <── Connection::output <── Connection <─────────────────┘ subscribe, …
//! ```
//!
//! Each turn of a program has four steps: *read* from the socket, *handle* the input until no event is left, *commit*
//! the changes that must be durable, and *write* [`Connection::output`]. Two rules apply:
//!
//! 1. Commit once, after the last event and before the first byte is written. At that time the output contains all
//!    acknowledgements of the turn, so no acknowledgement leaves before its message is durable.
//! 2. A command that changes the session also works after the connection has ended. The command then changes the
//!    session and sends nothing. For example, [`Connection::acknowledge`] records the packet identifier even if the
//!    socket was closed in the same turn.
//!
//! An event borrows from the input bytes and not from the connection. A message is therefore received without a copy,
//! and the application can call the connection while it reads the message.
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

mod connection;
mod delivery;
mod error;
mod event;
mod limits;
mod observer;
mod packet_log;
mod printable;
mod session;
mod traffic;

pub use connection::Connection;
pub use delivery::{DeliveryDetails, OutboundMessage, seconds_until};
pub use error::{CloseReason, PublishError};
pub use event::{Deviation, Event, InboundMessage, InputStep};
pub use limits::Config;
pub use observer::{Direction, Observed, Observer};
pub use packet_log::PACKETS;
pub use printable::{Excerpt, Printable, PrintableLines, is_unprintable};
pub use session::{Change, Session};
pub use traffic::{Count, Traffic};

/// The code of the README, which is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
