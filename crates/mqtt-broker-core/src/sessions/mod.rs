//! The state of each client, which outlives its connection: subscriptions, waiting messages, replays of retained
//! messages, and the owner of the session.

mod block_queue;
pub(crate) mod client;
pub(crate) mod owner;
pub(crate) mod queue;
pub(crate) mod replay;
