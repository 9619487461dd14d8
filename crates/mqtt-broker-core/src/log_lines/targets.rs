//! The targets of the log, by which a reader of the log filters its lines.

/// The log target of events: subscriptions, dropped messages, rejections.
pub const EVENTS: &str = "mqtt::broker";

/// The log target of connects and disconnects.
pub const CONNECTIONS: &str = "mqtt::broker::connections";
