//! [`Stats`]: the counters, the limiter of log lines, and the progress of a dump.

use std::time::Instant;

use mqtt_codec::Connect;
use mqtt_session::Excerpt;

use crate::log_lines::limiter::{LogEvent, LogLimiter};
use crate::log_lines::targets::EVENTS;
use crate::log_lines::words::Name;
use crate::stats::counters::Counters;
use crate::stats::dump::Dump;

/// The counters, the limiter of log lines, and the progress of a dump.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) counters: Counters,
    pub(crate) log_limiter: LogLimiter,
    /// The progress of the dump of subscriptions and retained messages. `None` if no dump is in progress.
    pub(crate) dump: Option<Dump>,
}

impl Stats {
    /// Logs that the will of a CONNECT was removed because its topic is reserved.
    pub(crate) fn log_denied_will(&mut self, now: Instant, connect: &Connect, topic_name: &str) {
        let name = &connect.client_identifier;
        if self.log_limiter.admits(now, LogEvent::WillDenied, name) {
            let (name, topic_name) = (Name(name), Excerpt(topic_name));
            log::info!(target: EVENTS, "Denied will of {name} ('{topic_name}')");
        }
    }
}
