//! Tests of the store in a file: it returns the state that was written, it shares messages, it rejects corrupt and
//! foreign files, it keeps deadlines when clocks are set, and it shrinks.

mod clients;
mod clock;
mod files;
mod mutations;
mod shared_messages;
