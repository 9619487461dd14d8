//! The lines of the log: how many of them a peer can cause, and the words for the end of a connection.

pub(crate) mod limiter;
pub(crate) mod words;

/// The log target of events: subscriptions, dropped messages, rejections.
pub const EVENTS: &str = "mqtt::broker";

/// The log target of connects and disconnects.
pub const CONNECTIONS: &str = "mqtt::broker::connections";
