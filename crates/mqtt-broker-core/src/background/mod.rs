//! The work that belongs to no connection, and has a work budget of its own in each turn: deferred wills, large
//! publications, and the values below `$SYS`. `interface/turns.rs` calls it.

pub(crate) mod deferred;
pub(crate) mod large_publications;
pub(crate) mod sys_topics;
