//! The state that limits the work of one call, and the work that waits for a later call.
//!
//! `work.rs` counts the work of a call. `throttle.rs` counts the uncommitted mutations, and has the connections that
//! wait. `backpressure.rs` makes a fast publisher wait for its subscriber. `fan_outs.rs` and `background.rs` have the
//! work of later turns. `packets/wait.rs` decides if a connection must wait, and the caller's loop decides which
//! connection is served next.

pub(crate) mod background;
pub(crate) mod backpressure;
pub(crate) mod fan_outs;
pub(crate) mod state;
pub(crate) mod throttle;
pub(crate) mod work;
