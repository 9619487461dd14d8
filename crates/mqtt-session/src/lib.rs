//! An MQTT connection, and the session that outlives it, as a state machine without I/O. The same machine serves
//! clients, brokers, tests and the simulator. Sockets, clocks, files and random numbers are the caller's.
//!
//! ```text
//!  bytes in ──> Connection::handle_input ──> Event ──> application ──┐
//!                                                                    │ publish, acknowledge,
//!  bytes out <── Connection::output <── Connection <─────────────────┘ subscribe, …
//! ```
//!
//! Each turn of a program has four steps: *read* from the socket, *handle* the input until there is no more event,
//! *commit* the changes that must be durable, and *write* [`Connection::output`]. Two rules apply:
//!
//! 1. Commit once, after the last event and before the first byte is written. All acknowledgements of a turn are in the
//!    output then, so that none of them leaves before its message is durable.
//! 2. Commands that change the session also work after the connection has ended, and then send nothing. For example,
//!    [`Connection::acknowledge`] records the packet identifier even if the socket was closed in the same turn.
//!
//! An event borrows from the input bytes and not from the connection. So a message is received without a copy, and the
//! application can call the connection while it reads the message.
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
mod packet_log;
mod printable;
mod session;
mod traffic;

pub use connection::Connection;
pub use delivery::{DeliveryDetails, OutboundMessage, seconds_until};
pub use error::{CloseReason, PublishError};
pub use event::{Deviation, Event, InboundMessage, InputStep};
pub use limits::Config;
pub use packet_log::{Direction, Observed, Observer, PACKETS};
pub use printable::{Excerpt, Printable, PrintableLines, is_unprintable};
pub use session::{Change, Session};
pub use traffic::{Count, Traffic};
