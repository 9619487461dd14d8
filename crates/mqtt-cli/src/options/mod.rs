//! Options that the programs share.

mod connection;

pub(crate) use connection::{ConnectionOptions, qos};
