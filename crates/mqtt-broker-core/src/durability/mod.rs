//! The changes that have to survive a crash, the output that waits for them, and the state that was stored.

pub(crate) mod commit_gate;
pub(crate) mod mutation;
mod restore;
