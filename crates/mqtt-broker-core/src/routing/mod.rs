//! The way of a message from its publisher to its subscribers: the router finds them, the delivery gives each its own
//! copy, and sending takes waiting messages from the queue as the window and the socket have room.

pub(crate) mod delivery;
pub(crate) mod fan_out;
pub(crate) mod footprint;
pub(crate) mod redistribute;
pub(crate) mod retain;
pub(crate) mod router;
pub(crate) mod sending;
