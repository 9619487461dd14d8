//! The packets of the clients: how their bytes are handled in pieces, and what CONNECT, PUBLISH, SUBSCRIBE and
//! UNSUBSCRIBE cause.

mod admission;
pub(crate) mod close;
mod connack;
pub(crate) mod connect;
pub(crate) mod input;
pub(crate) mod publish;
pub(crate) mod subscribe;
