//! The state of each client, which may outlive its connection: the session with its subscriptions, the queue of
//! messages, the replays of retained messages, and the will.
//!
//! The exchanges of QoS 1 and 2 with a client are in `mqtt_session::Session`, which a connection owns while the client
//! is connected. `expiry.rs` ends sessions and publishes wills. `owner.rs` decides which user may resume a session.

mod block_queue;
pub(crate) mod client;
pub(crate) mod queue;
pub(crate) mod retained_replays;
pub(crate) mod state;
