//! The state of each client, which may outlive its connection: the session with its subscriptions, the queue of
//! messages, the replays of retained messages, and the will.
//!
//! The exchanges of QoS 1 and 2 with a client are in `mqtt_session::Session`, which a connection owns while the client
//! is connected. These modules only have the state: `lifecycle/` begins and ends sessions, and `routing/` fills and
//! empties the queues.

mod block_queue;
pub(crate) mod client;
pub(crate) mod queue;
pub(crate) mod retained_replays;
pub(crate) mod state;
