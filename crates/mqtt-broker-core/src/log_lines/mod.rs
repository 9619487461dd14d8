//! The lines of the log. `limiter.rs` limits how many lines one peer can cause, and `words.rs` has the texts for the
//! end of a connection. The other texts are in the code where the events happen.

pub(crate) mod limiter;
pub(crate) mod targets;
pub(crate) mod words;
