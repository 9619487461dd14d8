//! The statistics of the broker: counters, rates, and the values that the broker publishes below `$SYS/broker` and that
//! `rbroker status` prints. `background/sys_topics.rs` makes the values from the counters and publishes them. A value
//! that mosquitto also publishes has the same topic as in mosquitto.

pub(crate) mod counters;
pub(crate) mod drops;
pub(crate) mod dump;
pub(crate) mod rates;
pub(crate) mod state;
pub(crate) mod value;
