//! Handlers: programs that `rsub --exec` and `rrr --serve` run for each message. A message is acknowledged after its
//! handler has exited with 0, so that a broker with a session delivers it again if rsub, the handler or the machine dies.
//!
//! The messages wait in one queue in the order of their arrival. Up to `--jobs` handlers run at a time, and only one
//! for each topic (with `rrr --serve` for each response topic), so that the messages of a topic are handled in their
//! order. A failed handler runs again after a wait, which doubles with each failure. If the last run fails, the message
//! is published to the topic of `--dead-letter`. Without this option rsub ends. `rrr --serve` instead reports the
//! failure in the response (`responses.rs`).
//!
//! With `--stdio` a handler stays, and its line for a message takes the place of its exit (`residents.rs`).
//!
//! Acknowledgements leave in the order of the messages, as MQTT requires [MQTT-4.6.0-2]. So a message whose handler was
//! quick waits for the ones before it, and the Receive Maximum of the connection bounds the queue.

mod job;
mod jobs;
mod options;
mod output;
mod process;
mod reports;
mod residents;
mod response_settings;
mod responses;
mod runs;

pub(super) use job::FAILURE_PROPERTY;
pub(super) use jobs::Jobs;
pub(super) use options::{HandlerSettings, handler_options, serving_options};
pub(super) use response_settings::ResponseSettings;
