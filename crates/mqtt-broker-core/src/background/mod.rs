//! The work that belongs to no connection: deferred wills, large publications, and the values below `$SYS`. Wills and
//! publications have a work budget of their own in each turn. `interface/turns.rs` calls these modules.

pub(crate) mod deferred;
pub(crate) mod large_publications;
pub(crate) mod sys_topics;
