//! [`LogFeed`]: the lines of the log that the broker publishes (`log_dest topic`). The logger of the program adds lines
//! to the feed, from any thread, and the loop of the server publishes them in its next turn. The program decides which
//! lines are published and how they are formatted.

use log::Level;
use mqtt_broker_core::{Broker, CONNECTIONS};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Maximum number of lines that wait for the loop. Further lines are dropped. Almost all lines are logged by the loop
/// itself, so the limit is not reached in practice.
const MAXIMUM_WAITING: usize = 1000;

/// The lines that were logged and not published yet. A clone shares the same lines.
#[derive(Debug, Clone, Default)]
pub struct LogFeed(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<(LogKind, String)>,
    /// Set while lines are published. A line that this publication causes must not be published, because it would cause
    /// another line, without end.
    is_muted: bool,
}

/// The kind of a line. Each kind has its own topic, with the letter of mosquitto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogKind {
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// A client has connected or disconnected.
    Notice,
    /// A line that is logged by default and has no other kind.
    Information,
}

impl LogKind {
    /// Returns the kind of a line with this level and target. Returns `None` for lines about packets, because
    /// publishing such a line would cause more of them.
    pub fn of(level: Level, target: &str) -> Option<Self> {
        match level {
            Level::Error => Some(Self::Error),
            Level::Warn => Some(Self::Warning),
            Level::Info if target == CONNECTIONS => Some(Self::Notice),
            Level::Info => Some(Self::Information),
            Level::Debug | Level::Trace => None,
        }
    }

    fn topic_name(self) -> &'static str {
        match self {
            Self::Error => "$SYS/broker/log/E",
            Self::Warning => "$SYS/broker/log/W",
            Self::Notice => "$SYS/broker/log/N",
            Self::Information => "$SYS/broker/log/I",
        }
    }
}

impl LogFeed {
    /// Adds a line, or drops it if 1000 lines wait. Blocks only while another thread adds or takes lines.
    pub fn push(&self, kind: LogKind, line: &str) {
        let mut waiting = self.lock();
        if !waiting.is_muted && waiting.lines.len() < MAXIMUM_WAITING {
            waiting.lines.push_back((kind, line.to_owned()));
        }
    }

    /// Publishes the lines that were logged since the last call.
    pub(super) fn publish(&self, broker: &mut Broker, now: Instant) {
        let lines = self.take();
        if lines.is_empty() {
            return;
        }
        for (kind, line) in lines {
            broker.publish_log_line(now, kind.topic_name(), line);
        }
        self.unmute();
    }

    /// Returns `true` if lines wait, so that the loop must not wait for events.
    pub(super) fn has_lines(&self) -> bool {
        !self.lock().lines.is_empty()
    }

    /// Removes and returns the lines. If there were any, the feed drops new lines until `unmute`.
    fn take(&self) -> VecDeque<(LogKind, String)> {
        let mut waiting = self.lock();
        waiting.is_muted = !waiting.lines.is_empty();
        std::mem::take(&mut waiting.lines)
    }

    fn unmute(&self) {
        self.lock().is_muted = false;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // The lines are complete even if a thread panicked while it had the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_muted_while_they_are_published() {
        let feed = LogFeed::default();
        for _ in 0..2 * MAXIMUM_WAITING {
            feed.push(LogKind::Notice, "a");
        }
        assert_eq!(feed.take().len(), MAXIMUM_WAITING);
        feed.push(LogKind::Warning, "about the publication");
        assert!(!feed.has_lines());
        feed.unmute();
        feed.push(LogKind::Warning, "b");
        assert_eq!(feed.take(), [(LogKind::Warning, "b".to_owned())]);
    }

    #[test]
    fn details_of_packets_are_not_published() {
        assert_eq!(LogKind::of(Level::Debug, CONNECTIONS), None);
        let notice = LogKind::of(Level::Info, CONNECTIONS);
        assert_eq!(notice, Some(LogKind::Notice));
    }
}
