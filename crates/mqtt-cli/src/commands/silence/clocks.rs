//! The clocks of the topic filters.
//!
//! The clocks start with the first SUBACK, so that a slow connection is not silence. From then on they run without a
//! pause, also without a connection. A message resets the clocks of all filters that match its topic: MQTT before 5.0
//! does not show for which of these filters the broker has sent the message.

use std::time::{Duration, Instant};

use mqtt_codec::{PublishRef, TopicFilter};

use super::options::Expectation;

/// The delay in reading a clock from which on rsub assumes that the process was stopped, for example by SIGSTOP or by a
/// sleep of the machine.
const LATE: Duration = Duration::from_millis(200);

/// The time in which rsub reads the messages that have come while it was stopped. Until then no clock runs out.
const GRACE: Duration = Duration::from_millis(500);

/// The clocks of all filters.
#[derive(Debug)]
pub(super) struct Clocks {
    clocks: Vec<Clock>,
    limit: Duration,
    is_check: bool,
    counts_retained: bool,
    excluded: Vec<TopicFilter>,
    started: Option<Instant>,
    /// The time before which no clock runs out.
    not_before: Option<Instant>,
}

/// The clock of one filter.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) filter: TopicFilter,
    /// The time of the last message.
    last: Option<Instant>,
    /// The time from the start of the clocks to the first message.
    pub(super) first: Option<Duration>,
    /// Set when the clock has run out; cleared by the next message.
    pub(super) is_silent: bool,
    /// Set if the broker has rejected the subscription.
    pub(super) is_denied: bool,
}

impl Clocks {
    /// Creates clocks that do not run yet. A filter that is given twice has one clock.
    pub(super) fn new(expectation: Expectation) -> Self {
        let mut clocks: Vec<Clock> = Vec::new();
        for filter in expectation.filters {
            if clocks.iter().all(|clock| clock.filter != filter) {
                clocks.push(Clock {
                    filter,
                    last: None,
                    first: None,
                    is_silent: false,
                    is_denied: false,
                });
            }
        }
        Self {
            clocks,
            limit: expectation.limit,
            is_check: expectation.is_check,
            counts_retained: expectation.counts_retained,
            excluded: expectation.excluded,
            started: None,
            not_before: None,
        }
    }

    /// Starts the clocks, unless they run.
    pub(super) fn start(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    /// Records the answer of the broker to the subscription.
    pub(super) fn set_denied(&mut self, filter: &TopicFilter, is_denied: bool) {
        for clock in &mut self.clocks {
            if clock.filter == *filter {
                clock.is_denied = is_denied;
            }
        }
    }

    /// Resets the clocks of the filters that match a message. Returns the filters that were silent, with the times since
    /// their last message.
    pub(super) fn hear(
        &mut self,
        publish: &PublishRef<'_>,
        now: Instant,
    ) -> Vec<(TopicFilter, Duration)> {
        let mut ended = Vec::new();
        // A message before SUBACK comes from the session and may be old.
        let Some(started) = self.started else {
            return ended;
        };
        // The broker sends a retained message because of the subscription, however old the message is.
        if publish.retain && !self.counts_retained {
            return ended;
        }
        let topic_name = publish.topic_name;
        if self
            .excluded
            .iter()
            .any(|filter| filter.matches(topic_name))
        {
            return ended;
        }
        for clock in &mut self.clocks {
            if !clock.filter.matches(topic_name) {
                continue;
            }
            let last = clock.last.replace(now).unwrap_or(started);
            clock.first.get_or_insert(now - started);
            if std::mem::take(&mut clock.is_silent) {
                ended.push((clock.filter.clone(), now - last));
            }
        }
        ended
    }

    /// Keeps all clocks from running out for [`GRACE`], because messages may wait unread.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.not_before = Some(now + GRACE);
    }

    /// Returns the indexes of the clocks that have run out since the last call.
    pub(super) fn take_silent(&mut self, now: Instant) -> Vec<usize> {
        let Some(end) = self.first_end().filter(|end| now >= *end) else {
            return Vec::new();
        };
        let was_postponed = self.not_before.is_some_and(|time| time > end);
        if now > end + LATE && !was_postponed {
            self.postpone(now);
        }
        if self.not_before.is_some_and(|time| now < time) {
            return Vec::new();
        }
        let mut silent = Vec::new();
        for index in 0..self.clocks.len() {
            let end = self.clocks.get(index).and_then(|clock| self.end(clock));
            if let (Some(clock), true) = (
                self.clocks.get_mut(index),
                end.is_some_and(|end| now >= end),
            ) {
                clock.is_silent = true;
                silent.push(index);
            }
        }
        silent
    }

    /// Returns `true` if each filter has had a message.
    pub(super) fn have_all_heard(&self) -> bool {
        self.clocks.iter().all(|clock| clock.first.is_some())
    }

    /// Returns the time at which the next clock may run out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.first_end()?;
        Some(self.not_before.map_or(end, |time| time.max(end)))
    }

    /// Returns the clock with this index.
    pub(super) fn get(&self, index: usize) -> Option<&Clock> {
        self.clocks.get(index)
    }

    /// Returns the clocks.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Clock> {
        self.clocks.iter()
    }

    fn first_end(&self) -> Option<Instant> {
        self.clocks.iter().filter_map(|clock| self.end(clock)).min()
    }

    /// Returns the time at which a clock runs out. `--check` only waits for the first message of each filter.
    fn end(&self, clock: &Clock) -> Option<Instant> {
        let is_done = clock.is_silent || self.is_check && clock.first.is_some();
        let since = clock.last.or(self.started).filter(|_| !is_done);
        Some(since? + self.limit)
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::{Delivery, Message, TopicName};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn clocks(filters: &[&str]) -> Clocks {
        Clocks::new(Expectation {
            limit: LIMIT,
            warning: None,
            counts_retained: false,
            is_check: false,
            command: None,
            filters: filters
                .iter()
                .map(|filter| TopicFilter::new(filter).unwrap())
                .collect(),
            excluded: vec![TopicFilter::new("a/debug").unwrap()],
        })
    }

    fn hear(clocks: &mut Clocks, topic: &str, retain: bool, now: Instant) -> usize {
        let message = Message {
            retain,
            ..Message::new(TopicName::new(topic).unwrap(), "")
        };
        clocks
            .hear(&message.publish(Delivery::AtMostOnce), now)
            .len()
    }

    #[test]
    fn clocks_run_from_suback_and_each_message_resets_those_that_match() {
        let mut clocks = clocks(&["a/#", "$share/g/a/b", "b"]);
        let start = Instant::now();
        assert_eq!(clocks.deadline(), None);
        assert_eq!(hear(&mut clocks, "b", false, start), 0);
        clocks.start(start);
        clocks.start(start + LIMIT); // after a reconnect
        assert_eq!(clocks.deadline(), Some(start + LIMIT));
        let half = start + LIMIT / 2;
        for (topic, retain) in [("a/b", false), ("b", true), ("a/debug", false)] {
            hear(&mut clocks, topic, retain, half);
        }
        assert_eq!(clocks.take_silent(start + LIMIT), [2]);
        assert_eq!(clocks.take_silent(start + LIMIT), [0; 0]);
        assert_eq!(clocks.take_silent(half + LIMIT), [0, 1]);
        assert_eq!(clocks.deadline(), None);
        assert_eq!(hear(&mut clocks, "b", false, half + LIMIT), 1);
        assert_eq!(clocks.take_silent(half + LIMIT * 2), [2]);
    }

    #[test]
    fn a_clock_that_is_read_late_gets_time_for_messages_that_wait() {
        let mut clocks = clocks(&["a", "b"]);
        let start = Instant::now();
        clocks.start(start);
        let late = start + LIMIT * 2;
        assert_eq!(clocks.take_silent(late), [0; 0]);
        assert_eq!(clocks.deadline(), Some(late + GRACE));
        hear(&mut clocks, "a", false, late);
        assert_eq!(clocks.take_silent(late + GRACE / 2), [0; 0]);
        assert_eq!(clocks.take_silent(late + GRACE), [1]);
        // A pause in reading gives the clocks the same time.
        let end = late + LIMIT;
        clocks.postpone(end);
        assert_eq!(clocks.take_silent(end), [0; 0]);
        assert_eq!(clocks.take_silent(end + GRACE), [0]);
    }
}
