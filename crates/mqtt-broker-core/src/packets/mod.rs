//! Handles the packets of clients: CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE and DISCONNECT.
//!
//! `input.rs` receives the bytes of a connection and calls the module of each packet. The bytes are decoded in
//! `mqtt_session::Connection`, which also answers the packets that need no decision of the broker, such as PINGREQ.
//! `routing/` delivers the messages to their subscribers.

mod admission;
mod connack;
pub(crate) mod connect;
pub(crate) mod input;
pub(crate) mod password;
pub(crate) mod publish;
pub(crate) mod subscribe;
pub(crate) mod wait;
