//! Who may connect, and what each client may publish and receive.

pub(crate) mod acl;
pub(crate) mod check_queue;
pub(crate) mod policy;
