//! The statistics of the broker: the topics below `$SYS/broker`, and the values that `rbroker status` shows. Each value
//! has one name, which is also its topic.

pub(crate) mod counters;
pub(crate) mod drops;
pub(crate) mod dump;
pub(crate) mod rates;
pub(crate) mod state;
pub(crate) mod value;
