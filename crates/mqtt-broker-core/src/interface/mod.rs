//! The interface of the core: the methods of [`Broker`](crate::Broker), by subject.

pub(crate) mod commits;
pub(crate) mod connections;
pub(crate) mod turns;
