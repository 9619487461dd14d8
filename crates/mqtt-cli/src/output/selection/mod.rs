//! Selects the messages that `--on-change` and `--every` print.
//!
//! With `--on-change` a message is printed if its value differs from the one that was last printed for its topic. With
//! `--every` the first message of a topic is printed immediately and begins a period. During the period the newest
//! message waits, and the end of the period prints it and begins the next period.
//!
//! Memory is bounded. The names of topics and the values are kept as hashes with random keys, so each topic needs the
//! same memory. The number of topics and the size of the waiting messages have limits.

mod comparison;
mod json_path;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mqtt_codec::{Property, Publish, PublishRef};

pub(crate) use comparison::Comparison;
use comparison::Fingerprint;
pub(crate) use json_path::JsonPath;

/// Maximum number of topics. Together they use about 100 MiB.
const MAXIMUM_TOPICS: usize = 500_000;

/// Maximum size of the messages that wait for the end of a period.
const MAXIMUM_BYTES: usize = 64 * 1024 * 1024;

/// The size of a waiting message without topic name, payload and properties.
const MESSAGE_BYTES: usize = 256;

/// The rules by which messages are selected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// The comparison of `--on-change`.
    pub(crate) comparison: Option<Comparison>,
    /// The period of `--every`.
    pub(crate) period: Option<Duration>,
}

/// The topics with their last printed values, and the messages that wait.
#[derive(Debug)]
pub(crate) struct Selection {
    rules: Rules,
    limits: Limits,
    topics: HashMap<Key, Topic>,
    /// The ends of the periods of topics without a waiting message.
    ends: BTreeSet<(Instant, Key)>,
    /// The messages that wait, by the end of their period.
    waiting: BTreeMap<(Instant, Key), Waiting>,
    waiting_bytes: usize,
    /// The keys of the hashes.
    hashers: [RandomState; 2],
    is_full: bool,
}

/// Maximum memory of a selection.
#[derive(Debug, Clone, Copy)]
struct Limits {
    topics: usize,
    bytes: usize,
}

/// A hash of a topic name. With 128 bits and random keys, two topics never have the same hash in practice.
type Key = [u64; 2];

/// The state of a topic.
#[derive(Debug, Default)]
struct Topic {
    /// The value that was last printed, with `--on-change`.
    last: Option<Fingerprint>,
    /// The end of the period, with `--every`. `None` between periods.
    end: Option<Instant>,
}

/// A message that waits for the end of a period.
#[derive(Debug)]
pub(crate) struct Waiting {
    publish: Publish,
    pub(crate) arrival: Timestamp,
    fingerprint: Option<Fingerprint>,
}

/// The decision about a message that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selected {
    Print,
    /// The message is not printed, or not yet.
    Withhold,
    /// The message is printed, and it is the first one for whose topic there is no room.
    PrintWithWarning,
}

impl Selection {
    /// Creates a selection that has seen no message.
    pub(crate) fn new(rules: Rules) -> Self {
        let limits = Limits {
            topics: MAXIMUM_TOPICS,
            bytes: MAXIMUM_BYTES,
        };
        Self::with_limits(rules, limits)
    }

    fn with_limits(rules: Rules, limits: Limits) -> Self {
        Self {
            rules,
            limits,
            topics: HashMap::new(),
            ends: BTreeSet::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            hashers: [RandomState::new(), RandomState::new()],
            is_full: false,
        }
    }

    /// Decides about a message that has arrived. The selection keeps a copy of a message that waits.
    pub(crate) fn select(&mut self, publish: &PublishRef<'_>, now: Instant) -> Selected {
        self.end_periods(now);
        let key = self.key(publish.topic_name);
        if self.topics.len() >= self.limits.topics && !self.topics.contains_key(&key) {
            // Without room for the topic, all of its messages are printed, so that none is lost.
            let was_full = std::mem::replace(&mut self.is_full, true);
            return if was_full {
                Selected::Print
            } else {
                Selected::PrintWithWarning
            };
        }
        let fingerprint = self.fingerprint(publish.payload);
        let topic = self.topics.entry(key).or_default();
        let (end, last) = (topic.end, topic.last);
        // This message replaces the one that waits. If its value is the one last printed, the change was undone, and no
        // message waits.
        if let Some(end) = end {
            self.take_waiting((end, key));
        }
        let is_same = self.is_same(last, fingerprint);
        match end {
            Some(end) if now < end => {
                if is_same {
                    self.ends.insert((end, key));
                } else {
                    let waiting = Waiting::new(publish, fingerprint);
                    self.waiting_bytes += waiting.bytes();
                    self.ends.remove(&(end, key));
                    self.waiting.insert((end, key), waiting);
                }
                Selected::Withhold
            }
            _ if is_same => {
                self.set_printed(key, last, None);
                Selected::Withhold
            }
            _ => {
                let end = self.rules.period.map(|period| now + period);
                self.set_printed(key, fingerprint, end);
                Selected::Print
            }
        }
    }

    /// Returns the next message that must be printed now: one whose period has ended, or the one whose period ends first
    /// if the waiting messages use too much memory.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Waiting> {
        let (end, _) = *self.waiting.first_key_value()?.0;
        if now < end && !self.is_crowded() {
            return None;
        }
        let (place, waiting) = self.take_first()?;
        // Periods follow each other without a gap, so that a busy topic is printed at regular intervals.
        let period = self.rules.period.unwrap_or_default();
        let next = end + period;
        let next = if next > now && end <= now {
            next
        } else {
            now + period
        };
        self.set_printed(place.1, waiting.fingerprint, Some(next));
        Some(waiting)
    }

    /// Returns the next message that waits, whether its period has ended or not. The end of the program prints all of
    /// them.
    pub(crate) fn take_any(&mut self) -> Option<Waiting> {
        let (place, waiting) = self.take_first()?;
        self.set_printed(place.1, waiting.fingerprint, None);
        Some(waiting)
    }

    /// Returns `true` if a message waits.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the time at which `take_due` must be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let (end, _) = *self.waiting.first_key_value()?.0;
        Some(if self.is_crowded() {
            Instant::now()
        } else {
            end
        })
    }

    fn is_crowded(&self) -> bool {
        self.waiting_bytes > self.limits.bytes
    }

    fn key(&self, topic_name: &str) -> Key {
        let [first, second] = &self.hashers;
        [first.hash_one(topic_name), second.hash_one(topic_name)]
    }

    fn fingerprint(&self, payload: &[u8]) -> Option<Fingerprint> {
        let comparison = self.rules.comparison.as_ref()?;
        Some(comparison.fingerprint(payload, &self.hashers[0]))
    }

    fn is_same(&self, last: Option<Fingerprint>, value: Option<Fingerprint>) -> bool {
        match (&self.rules.comparison, last, value) {
            (Some(comparison), Some(last), Some(value)) => !comparison.differ(last, value),
            _ => false,
        }
    }

    /// Records the value that was printed last for a topic, and the end of its period.
    fn set_printed(&mut self, key: Key, last: Option<Fingerprint>, end: Option<Instant>) {
        let topic = self.topics.entry(key).or_default();
        topic.last = last;
        if let Some(end) = std::mem::replace(&mut topic.end, end) {
            self.ends.remove(&(end, key));
        }
        if let Some(end) = end {
            self.ends.insert((end, key));
        }
    }

    fn take_waiting(&mut self, place: (Instant, Key)) -> Option<Waiting> {
        let waiting = self.waiting.remove(&place)?;
        self.waiting_bytes -= waiting.bytes();
        Some(waiting)
    }

    fn take_first(&mut self) -> Option<((Instant, Key), Waiting)> {
        let place = *self.waiting.first_key_value()?.0;
        Some((place, self.take_waiting(place)?))
    }

    /// Ends the periods in which no message waits. Without `--on-change` such a topic needs no memory.
    fn end_periods(&mut self, now: Instant) {
        while let Some((end, key)) = self.ends.first().copied() {
            if now < end {
                return;
            }
            self.ends.pop_first();
            if self.rules.comparison.is_none() {
                self.topics.remove(&key);
            } else if let Some(topic) = self.topics.get_mut(&key) {
                topic.end = None;
            }
        }
    }
}

impl Waiting {
    fn new(publish: &PublishRef<'_>, fingerprint: Option<Fingerprint>) -> Self {
        Self {
            publish: publish.into_owned(),
            arrival: Timestamp::now(),
            fingerprint,
        }
    }

    /// Returns the message as it has arrived.
    pub(crate) fn publish(&self) -> PublishRef<'_> {
        let publish = &self.publish;
        PublishRef {
            delivery: publish.delivery,
            retain: publish.retain,
            topic_name: &publish.topic_name,
            payload: &publish.payload,
            properties: publish.properties.borrowed(),
        }
    }

    /// Returns the size in memory.
    fn bytes(&self) -> usize {
        let publish = &self.publish;
        let properties: usize = publish.properties.iter().map(property_bytes).sum();
        MESSAGE_BYTES + publish.topic_name.len() + publish.payload.len() + properties
    }
}

/// Returns the approximate size of a property in memory.
fn property_bytes(property: Property<'_>) -> usize {
    let text = match property {
        Property::User(name, value) => name.len() + value.len(),
        Property::ContentType(text) | Property::ResponseTopic(text) => text.len(),
        Property::CorrelationData(data) => data.len(),
        _ => 0,
    };
    text + 5 // the identifier, and two lengths or a number
}

#[cfg(test)]
mod tests;
