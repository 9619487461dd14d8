//! Limits how much work the core does in one call, and decides when a connection has to wait.
//!
//! `work.rs` counts the work of a call. `throttle.rs` decides if the next packet of a connection must wait, and
//! `backpressure.rs` makes a fast publisher wait for its subscriber. `background.rs` does the work that belongs to no
//! connection. The order in which connections are served is decided by the caller, not here.

pub(crate) mod background;
pub(crate) mod backpressure;
pub(crate) mod fan_outs;
pub(crate) mod state;
pub(crate) mod throttle;
pub(crate) mod work;
