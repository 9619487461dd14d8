//! Messages of QoS 1 and 2 (MQTT 5.0, 4.3), each half once. Neither half knows whether it is the
//! client's or the server's.
//!
//! ```text
//!  QoS 1   Sender                     Receiver
//!          store message
//!          PUBLISH ─────────────────> hand on                    (again after a break, with DUP)
//!                                     application acknowledges
//!          forget <────────── PUBACK
//!
//!  QoS 2   Sender                     Receiver
//!          store message
//!          PUBLISH ─────────────────> hand on, unless the identifier is held
//!                                     application acknowledges: hold the identifier
//!          forget message <── PUBREC                             (again for each repeat)
//!          keep identifier
//!          PUBREL ──────────────────> let go of the identifier
//!          forget <────────── PUBCOMP                            (also if it was not held)
//! ```

mod exchanges;
mod receiver;
mod reclaim;
mod sender;

pub(crate) use receiver::{PublishDisposition, Receiver};
pub(crate) use sender::{AckOutcome, Resend, Sender};
pub use sender::{DeliveryDetails, OutboundMessage, seconds_until};
