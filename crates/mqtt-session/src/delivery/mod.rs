//! Delivery of QoS 1 and 2 (MQTT 5.0, 4.3). [`Sender`] and [`Receiver`] are the two halves of an exchange. Neither of
//! them knows whether it belongs to the client or to the server.
//!
//! ```text
//!  QoS 1   Sender                     Receiver
//!          store message
//!          PUBLISH ─────────────────> deliver to the application  (resent after a reconnect, with DUP)
//!                                     application acknowledges
//!          forget <────────── PUBACK
//!
//!  QoS 2   Sender                     Receiver
//!          store message
//!          PUBLISH ─────────────────> deliver to the application, unless the identifier is held
//!                                     application acknowledges: hold the identifier
//!          forget message <── PUBREC                              (again for each duplicate)
//!          keep identifier
//!          PUBREL ──────────────────> stop holding the identifier
//!          forget <────────── PUBCOMP                             (also if it was not held)
//! ```
//!
//! A message of QoS 2 is delivered at PUBLISH and not at PUBREL: the receiver then stores an identifier instead of a
//! message until PUBREL.

mod exchanges;
mod outbound_message;
mod receiver;
mod reclaim;
mod sender;

pub use outbound_message::{DeliveryDetails, OutboundMessage, seconds_until};
pub(crate) use receiver::{Acknowledgement, PublishDisposition, PubrelOutcome, Receiver};
pub(crate) use sender::{AckOutcome, Resend, Sender};
