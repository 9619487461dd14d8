//! Tests with a client and a server that are connected in memory. Both ends are a [`Connection`](mqtt_session::Connection).
//! The network link between them can be cut after any byte.

mod delivery;
mod ends;
mod handshake;
mod violations;
