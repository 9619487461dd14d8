//! The packets of the clients: how their bytes are handled in pieces, and what CONNECT, PUBLISH, SUBSCRIBE and
//! UNSUBSCRIBE cause.

pub(crate) mod close;
pub(crate) mod connect;
pub(crate) mod input;
pub(crate) mod publish;
pub(crate) mod subscribe;
