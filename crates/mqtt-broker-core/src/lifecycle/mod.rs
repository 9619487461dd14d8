//! The life of connections and sessions: who resumes a session, and what happens at the end of a connection and of a
//! session.

pub(crate) mod close;
pub(crate) mod expiry;
pub(crate) mod owner;
pub(crate) mod restore;
pub(crate) mod settle;
pub(crate) mod stale_subscriptions;
pub(crate) mod takeover;
