//! One MQTT connection, and the session that outlives it. The same machine serves client, broker,
//! tests and simulator; it knows no socket, clock, file or random source.
//!
//! ```text
//!  bytes in ──> Connection::handle_input ──> Event ──> application ──┐
//!                                                                    │ publish, acknowledge,
//!  bytes out <── Connection::output <── Connection <─────────────────┘ subscribe, …
//! ```
//!
//! One turn of every program: *read* what the socket has, *handle* it until there is no event left,
//! *commit* what has to be durable, *write* [`Connection::output`]. Two rules hold:
//!
//! 1. Commit once, after the last event and before the first byte is written. The acknowledgements
//!    of a turn are all in the output then, so none can leave before what it promises is true.
//! 2. What changes the session also works on a connection that has ended; only its bytes go
//!    nowhere. [`Connection::acknowledge`] records the identifier even if the socket closed in the
//!    same turn.
//!
//! An event borrows from the bytes it came in, not from the connection: a message is received
//! without a copy, and the application may call the connection while it looks at the message.
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
