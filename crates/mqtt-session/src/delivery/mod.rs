//! Delivery of messages of QoS 1 and 2 (MQTT 5.0, 4.3). [`Sender`] and [`Receiver`] are the two halves of an exchange.
//! Both work in the same way in a client and in a server.
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
//! An identifier is *held* while the receiver stores it between PUBREC and PUBREL. The receiver delivers a message of
//! QoS 2 at PUBLISH and not at PUBREL, so that it stores an identifier instead of a whole message.

mod exchanges;
mod outbound_message;
mod receiver;
mod reclaim;
mod sender;

pub use outbound_message::{DeliveryDetails, OutboundMessage, seconds_until};
pub(crate) use receiver::{Acknowledgement, PublishDisposition, PubrelOutcome, Receiver};
pub(crate) use sender::{AckOutcome, Resend, Sender};
