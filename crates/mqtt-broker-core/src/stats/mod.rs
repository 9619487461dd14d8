//! The statistics of the broker: counters, and the values that the broker publishes below `$SYS/broker` and that
//! `rbroker status` prints. The name of a value is also its topic below `$SYS/broker`, and the names that mosquitto has
//! are those of mosquitto.
//!
//! Most code adds to [`Counters`] where something happens. Nothing here walks over all clients or messages, except over
//! the connections for their traffic, so that a broker with a million sessions can publish its values every second.

pub(crate) mod counters;
pub(crate) mod drops;
pub(crate) mod dump;
pub(crate) mod rates;
pub(crate) mod state;
pub(crate) mod value;
