//! [`Reports`]: the information about the broker in addition to the log: the topics below `$SYS`, published lines of
//! the log, dumps, the answers to `rbroker status`, and reports to a supervisor.

use super::log_feed::LogFeed;
#[cfg(unix)]
use super::status::StatusSocket;
use super::supervision::Supervision;
use mqtt_broker_core::Broker;
use std::time::Instant;

/// The times at which reports are due, and their sources.
#[derive(Default)]
pub(crate) struct Reports {
    /// Set while a dump has more lines.
    is_dumping: bool,
    /// The time of the next publication below `$SYS`. `None` if these topics are not published.
    statistics_due: Option<Instant>,
    /// The lines of the log to publish. `None` without `log_dest topic`.
    pub(super) log_feed: Option<LogFeed>,
    /// Sends reports to the supervisor, if there is one.
    pub(super) supervision: Supervision,
    /// The socket that answers `rbroker status`.
    #[cfg(unix)]
    pub(super) status: Option<StatusSocket>,
}

impl Reports {
    /// Makes the topics below `$SYS` due now, if they are published.
    pub(crate) fn begin_statistics(&mut self, broker: &Broker) {
        self.statistics_due = broker.statistics_interval().map(|_| Instant::now());
    }

    /// Publishes no more topics below `$SYS`, because the server stops.
    pub(crate) fn end_statistics(&mut self) {
        self.statistics_due = None;
    }

    /// Publishes the topics below `$SYS`, if that is due.
    pub(crate) fn publish_statistics(&mut self, broker: &mut Broker, now: Instant) {
        if self.statistics_due.is_some_and(|due| due <= now) {
            broker.publish_statistics(now);
            let interval = broker.statistics_interval();
            self.statistics_due = interval.map(|interval| now + interval);
        }
    }

    /// Publishes the lines that were logged since the last turn.
    pub(crate) fn publish_log_lines(&self, broker: &mut Broker, now: Instant) {
        if let Some(feed) = &self.log_feed {
            feed.publish(broker, now);
        }
    }

    /// Logs the next lines of a dump, if one is in progress.
    pub(crate) fn continue_dump(&mut self, broker: &mut Broker) {
        self.is_dumping = broker.poll_dump();
    }

    /// Returns the time at which `publish_statistics` or the report to the supervisor is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.statistics_due, self.supervision.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    /// Returns `true` if work is left that needs no further event. The loop must not wait then.
    pub(crate) fn has_work(&self) -> bool {
        let has_lines = self.log_feed.as_ref().is_some_and(LogFeed::has_lines);
        self.is_dumping || has_lines || self.may_have_questions()
    }

    /// Returns `true` if more programs may have connected to the status socket.
    #[cfg(unix)]
    pub(crate) fn may_have_questions(&self) -> bool {
        let status = self.status.as_ref();
        status.is_some_and(StatusSocket::may_have_questions)
    }

    /// Returns `false`, because other systems have no status socket.
    #[cfg(not(unix))]
    pub(crate) fn may_have_questions(&self) -> bool {
        false
    }
}
