//! Records the changes that must survive a crash, and holds back output until they are durable.
//!
//! `mutation.rs` has the changes, `record.rs` records them, and `commit_gate.rs` holds back output. `snapshot.rs` has
//! the stored state, which `lifecycle/restore.rs` loads into a new broker. The core does not write to a disk: the
//! caller takes the mutations and commits them.

pub(crate) mod commit_gate;
pub(crate) mod mutation;
pub(crate) mod record;
pub(crate) mod snapshot;
pub(crate) mod state;
