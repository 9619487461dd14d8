//! The lines of the log that subscribers get (`log_dest topic`). The program that writes the log pushes them, the loop
//! publishes them in its next turn. How lines look and which are wanted is decided by the program.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use log::Level;
use mqtt_broker_core::CONNECTIONS;

use super::Server;

/// Lines that wait for the loop. More are dropped: nothing is logged that often without the loop.
const MAXIMUM_WAITING: usize = 1000;

/// The lines between the log and the loop.
#[derive(Debug, Clone, Default)]
pub struct LogFeed(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<(LogKind, String)>,
    /// Set while lines are published. Lines about this publication would be published again, without end.
    is_muted: bool,
}

/// The kind of a line, which has a topic of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogKind {
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// A client that connects or disconnects.
    Notice,
    /// Everything else that is logged by default.
    Information,
}

impl LogKind {
    /// Returns the kind of a line by its level and target; `None` for details of packets, whose publication would
    /// cause more of them.
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
    /// Adds a line. It never blocks for long, and the line is lost if the loop is behind.
    pub fn push(&self, kind: LogKind, line: &str) {
        let mut waiting = self.lock();
        if !waiting.is_muted && waiting.lines.len() < MAXIMUM_WAITING {
            waiting.lines.push_back((kind, line.to_owned()));
        }
    }

    fn has_lines(&self) -> bool {
        !self.lock().lines.is_empty()
    }

    /// Takes the lines out, and takes no more until `unmute`.
    fn take(&self) -> VecDeque<(LogKind, String)> {
        let mut waiting = self.lock();
        waiting.is_muted = !waiting.lines.is_empty();
        std::mem::take(&mut waiting.lines)
    }

    fn unmute(&self) {
        self.lock().is_muted = false;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Publishes the lines of this feed from now on.
    pub fn publish_log(&mut self, feed: LogFeed) {
        self.log_feed = Some(feed);
    }

    /// Returns `true` if lines were logged after those of this turn were published.
    pub(super) fn has_log_lines(&self) -> bool {
        self.log_feed.as_ref().is_some_and(LogFeed::has_lines)
    }

    /// Publishes the lines that were logged since the last turn.
    pub(super) fn publish_log_lines(&mut self, now: Instant) {
        let Some(feed) = &self.log_feed else { return };
        let lines = feed.take();
        if lines.is_empty() {
            return;
        }
        for (kind, line) in lines {
            self.broker.publish_log_line(now, kind.topic_name(), line);
        }
        feed.unmute();
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
