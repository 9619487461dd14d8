//! The beginning and the end of connections and sessions. `takeover.rs` finds the session of a client that connects,
//! and `owner.rs` decides if the client may use it. `close.rs` ends a connection, `expiry.rs` ends a session and
//! publishes a will, and `restore.rs` loads the stored sessions when the broker starts.

pub(crate) mod close;
pub(crate) mod expiry;
pub(crate) mod owner;
pub(crate) mod restore;
pub(crate) mod stale_subscriptions;
pub(crate) mod takeover;
