//! The amount of work in one call, and the reasons for which a connection has to wait.

pub(crate) mod background;
pub(crate) mod backpressure;
pub(crate) mod throttle;
pub(crate) mod work;
