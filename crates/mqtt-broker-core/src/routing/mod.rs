//! Routes messages from the publisher to the subscribers.
//!
//! `publication.rs` is the first step: it retains the message, and delivers it immediately or in slices (`fan_out.rs`).
//! `router.rs` finds the subscribers of a topic. `delivery.rs` sends a message to one client or adds it to the client's
//! queue. `sending.rs` sends the messages of the queue and the retained messages when the client has room for them.
//! `acknowledgement.rs` acknowledges the message to its publisher. `redistribute.rs` moves the messages of a shared
//! subscription to another member. The permission to publish is checked before, in `packets/publish.rs`.

pub(crate) mod acknowledgement;
pub(crate) mod delivery;
pub(crate) mod fan_out;
pub(crate) mod own_messages;
pub(crate) mod permissions;
pub(crate) mod publication;
pub(crate) mod redistribute;
pub(crate) mod retain;
pub(crate) mod retained_replay;
pub(crate) mod routed;
pub(crate) mod router;
mod sender;
pub(crate) mod sending;
pub(crate) mod settle;
