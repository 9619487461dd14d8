//! The work that belongs to no connection, and gets its own share of each turn.

pub(crate) mod deferred;
pub(crate) mod large_publications;
pub(crate) mod sys_topics;
