//! The sockets of the connections: which of them are served next, and how they are read, written and closed.

mod closing;
mod read;
pub(crate) mod schedule;
pub(crate) mod state;
pub(crate) mod table;
mod write;
