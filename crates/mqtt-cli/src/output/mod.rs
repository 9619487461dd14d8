//! The output of the programs: messages on standard output, and lines for the user on standard error. Threads write
//! both streams, so that a slow reader does not block the network.

pub(crate) mod ack_queue;
pub(crate) mod diff;
pub(crate) mod format;
pub(crate) mod log_thread;
pub(crate) mod logger;
pub(crate) mod messages;
pub(crate) mod printer;
pub(crate) mod selection;
pub(crate) mod standard_streams;
pub(crate) mod stdout_thread;
pub(crate) mod trace;
mod watch;
