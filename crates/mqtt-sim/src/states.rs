//! States are retained messages whose payload is a version number, which grows (I18). The topics of states are separate
//! from those of other messages. Each topic of a state has one publisher and one QoS, so that its messages have an
//! order. This module also checks that messages stop after UNSUBACK (I19).
//!
//! [`States`] records the versions that were published and those that the broker has read. [`Replay`] checks the
//! messages that the broker sends to one client. [`Known`] records the versions that the application of a client has
//! received.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Violation;
use crate::wire::{Topic, WirePacket};

/// The topic filter of all states.
pub(crate) const FILTER: &str = "r/+/+";

/// The QoS with which a topic is always published. Messages of different QoS have no order among each other.
pub(crate) fn qos(topic: Topic) -> u8 {
    topic.slot % 3
}

/// The set of all states of a run.
#[derive(Debug, Default)]
pub(crate) struct States {
    published: BTreeMap<Topic, Published>,
    /// The version that the broker has read last, by topic; 0 if that message removed the state.
    last_read: BTreeMap<Topic, u64>,
    /// The highest version that the broker has read, by topic.
    highest_read: Arc<BTreeMap<Topic, u64>>,
}

/// The versions that were published to a topic.
#[derive(Debug, Default)]
struct Published {
    highest: u64,
    /// The last version; 0 if the state was removed.
    last: u64,
}

impl States {
    /// Returns the payload of the next message of a topic. If `removes` is set and the topic has a version, the payload
    /// is empty, which removes the state.
    pub(crate) fn payload(&self, topic: Topic, removes: bool) -> String {
        let published = self.published.get(&topic);
        match published {
            Some(_) if removes => String::new(),
            published => (published.map_or(0, |published| published.highest) + 1).to_string(),
        }
    }

    /// Records a message that a client has accepted for publishing.
    pub(crate) fn published(&mut self, topic: Topic, payload: &str) {
        let published = self.published.entry(topic).or_default();
        published.last = payload.parse().unwrap_or(0);
        published.highest = published.highest.max(published.last);
    }

    /// Handles a packet that the broker reads.
    pub(crate) fn broker_reads(&mut self, packet: &WirePacket) {
        if let Some((topic, version)) = packet.state {
            self.last_read.insert(topic, version);
            let highest = Arc::make_mut(&mut self.highest_read).entry(topic);
            let highest = highest.or_default();
            *highest = version.max(*highest);
        }
    }

    /// Returns the highest versions that the broker has read.
    pub(crate) fn highest_read(&self) -> &Arc<BTreeMap<Topic, u64>> {
        &self.highest_read
    }

    /// Checks a message that an application has accepted.
    ///
    /// # Errors
    /// If the message was never published.
    pub(crate) fn delivered(&self, topic: Topic, version: u64) -> Result<(), Violation> {
        let published = self.published.get(&topic);
        if published.is_none_or(|published| published.highest < version) {
            let what = format!("nobody has published version {version} of {topic:?}");
            return Err(Violation::new("I3", what));
        }
        Ok(())
    }

    /// Compares the versions that an application has received with the final states. `crashed` is set if the broker has
    /// died in this run: then the broker may have lost a message of QoS 0.
    ///
    /// # Errors
    /// If the application lacks the final state of a topic, or still has a state that was removed.
    pub(crate) fn check(
        &self,
        client: usize,
        known: &Known,
        subscriber: Subscriber,
        crashed: bool,
    ) -> Result<(), Violation> {
        for (topic, published) in &self.published {
            let (topic, qos) = (*topic, qos(*topic));
            let expected = match qos {
                0 if crashed => continue,
                0 => self.last_read.get(&topic).copied().unwrap_or(0),
                _ => published.last,
            };
            let may_miss = qos.min(subscriber.granted) == 0;
            // A client at QoS 0 may lose the newest version with its connection, and receives this version again only
            // after a new subscription. If the newest message removed the state, even a new subscription does not help,
            // because nothing is retained.
            if may_miss && subscriber.subscribes_once
                || expected == 0 && (may_miss || known.has_toggled)
            {
                continue;
            }
            let last = known.last.get(&topic).copied().unwrap_or(0);
            if last != expected {
                let what = format!(
                    "client {client} ends with version {last} of {topic:?}, not {expected}"
                );
                return Err(Violation::new("I18", what));
            }
        }
        Ok(())
    }
}

/// The way in which a client subscribes to states.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) granted: u8,
    /// Set if the client does not subscribe again when its session is resumed.
    pub(crate) subscribes_once: bool,
}

/// The versions that the application of a client has received.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The last version that was received; 0 if the state was removed.
    last: BTreeMap<Topic, u64>,
    /// The last version that was received with RETAIN 0, as a live message.
    last_live: BTreeMap<Topic, u64>,
    /// Set if the application may have missed messages because it had unsubscribed.
    pub(crate) has_toggled: bool,
}

impl Known {
    /// Forgets the received versions after the end of the session, because they may be out of date.
    pub(crate) fn forget(&mut self) {
        self.last.clear();
    }

    /// Records a version that was received. `is_exact` is set if the messages of the topic arrive exactly once and in
    /// order.
    ///
    /// # Errors
    /// If the version is older than an earlier live version, or repeats it as a live message.
    pub(crate) fn learn(
        &mut self,
        (topic, version): (Topic, u64),
        is_live: bool,
        is_exact: bool,
    ) -> Result<(), Violation> {
        self.last.insert(topic, version);
        if version == 0 {
            return Ok(());
        }
        let live = self.last_live.get(&topic).copied().unwrap_or(0);
        if is_live {
            self.last_live.insert(topic, version);
        }
        let is_old = version < live || is_live && version == live;
        if is_exact && is_old {
            let kind = if is_live { "live" } else { "retained" };
            let what = format!("{kind} version {version} of {topic:?} came after live {live}");
            return Err(Violation::new(if is_live { "I4" } else { "I18" }, what));
        }
        Ok(())
    }
}

/// The messages that the broker sends to one client because of its subscriptions to the states, in one session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replay {
    /// The number of times that the client has subscribed.
    subscriptions: u32,
    /// The number of retained messages that were sent, by topic.
    sent: BTreeMap<Topic, u32>,
    /// Set while the client has no subscription to the states: the versions that the broker had read when it sent
    /// UNSUBACK.
    ended_at: Option<Arc<BTreeMap<Topic, u64>>>,
}

impl Replay {
    /// Handles a packet of the client that the broker has read. The subscription counts from here and not from SUBACK,
    /// because the broker may send messages before SUBACK.
    pub(crate) fn reads(&mut self, packet: &WirePacket) {
        if packet.kind == 8 {
            self.subscriptions += 1;
            self.ended_at = None;
        }
    }

    /// Checks a packet that the broker sends to the client.
    ///
    /// # Errors
    /// If the broker sends a retained message twice for one subscription (I18), or sends a message that it has read
    /// after the end of the subscription (I19).
    pub(crate) fn sends(
        &mut self,
        packet: &WirePacket,
        highest_read: &Arc<BTreeMap<Topic, u64>>,
    ) -> Result<(), Violation> {
        match (packet.kind, packet.state) {
            (11, _) => self.ended_at = Some(Arc::clone(highest_read)),
            (3, Some((topic, version))) if !packet.dup => {
                if packet.retain && packet.qos > 0 {
                    let count = self.sent.entry(topic).or_default();
                    *count += 1;
                    // Each SUBSCRIBE brings the retained messages once, also if the subscription exists [MQTT-3.3.1-9].
                    if *count > self.subscriptions {
                        let what = format!(
                            "the retained message of {topic:?} came {count} times, for {} subscriptions",
                            self.subscriptions
                        );
                        return Err(Violation::new("I18", what));
                    }
                }
                let last = |ended: &Arc<BTreeMap<_, _>>| ended.get(&topic).copied().unwrap_or(0);
                if self
                    .ended_at
                    .as_ref()
                    .is_some_and(|ended| last(ended) < version)
                {
                    let what = format!("version {version} of {topic:?} came after UNSUBACK");
                    return Err(Violation::new("I19", what));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
