//! Authentication and permissions. `policy.rs` decides which clients a listener admits, `acl.rs` has the access control
//! lists, and `check_queue.rs` has the passwords that wait for their check. The core hashes no password and reads no
//! file: the caller does both.

pub(crate) mod acl;
pub(crate) mod check_queue;
pub(crate) mod policy;
pub(crate) mod state;
