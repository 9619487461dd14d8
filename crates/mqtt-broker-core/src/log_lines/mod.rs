//! The lines of the log: how many of them a peer can cause, and the words for the end of a connection.

pub(crate) mod limiter;
pub(crate) mod targets;
pub(crate) mod words;
