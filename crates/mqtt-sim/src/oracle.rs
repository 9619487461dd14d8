//! Records all published messages and checks each delivery (I1 to I5). The oracle compares what applications publish
//! with what applications receive, and sees no packets. `checker.rs` checks the packets.

use std::collections::BTreeMap;

use crate::Violation;

/// The identity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The index of the client that publishes the message.
    pub publisher: usize,
    /// The QoS with which the message is published.
    pub qos: u8,
    /// The number of the message among those of its publisher and QoS.
    pub number: u64,
}

impl Key {
    /// Returns a payload that consists of the key, `filler` bytes and a checksum.
    pub fn payload(self, filler: usize) -> Vec<u8> {
        let mut payload = format!(
            "{}:{}:{}:{}",
            self.publisher,
            self.qos,
            self.number,
            "x".repeat(filler)
        )
        .into_bytes();
        // The checksum finds payloads that were cut, mixed up, or read from the wrong place.
        let sum = crate::wire::hash(&payload, 7) as u8;
        payload.push(sum);
        payload
    }

    /// Returns the key in a payload; `None` if the payload was altered.
    pub fn of_payload(payload: &[u8]) -> Option<Self> {
        let (sum, text) = payload.split_last()?;
        if crate::wire::hash(text, 7) as u8 != *sum {
            return None;
        }
        let mut parts = std::str::from_utf8(text).ok()?.split(':');
        let mut number = || parts.next()?.parse::<u64>().ok();
        Some(Self {
            publisher: number()? as usize,
            qos: number()? as u8,
            number: number()?,
        })
    }
}

/// The properties of a message that may prevent its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits {
    /// Set if the message is longer than the Maximum Packet Size of some clients.
    pub is_long: bool,
    /// Set if the message has a Message Expiry Interval.
    pub expires: bool,
}

/// The guarantees between a publisher and a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarantees {
    /// Set if the publisher keeps its session.
    pub publisher_lasts: bool,
    /// Set if the subscriber keeps its session, and had subscribed before the faults began.
    pub subscriber_lasts: bool,
    /// Set if the subscriber never loses its state, so that it recognizes duplicates.
    pub knows_repeats: bool,
    /// Set if the subscriber must get the messages of one publisher and QoS in order (I4).
    pub keeps_order: bool,
    /// Set if long messages do not exceed the Maximum Packet Size of the subscriber.
    pub takes_long: bool,
    /// The QoS that was granted.
    pub granted: u8,
}

/// The record of all published and delivered messages.
#[derive(Debug, Default)]
pub struct Oracle {
    accepted: BTreeMap<Key, Traits>,
    deliveries: BTreeMap<(usize, Key), u64>,
    /// The number of the newest message that was delivered for the first time, by subscriber, publisher and QoS.
    newest: BTreeMap<(usize, usize, u8), u64>,
}

impl Oracle {
    /// Records a message that a client has accepted for publishing. Every message of QoS 1 and 2 must then be
    /// delivered.
    pub fn accepted(&mut self, key: Key, traits: Traits) {
        self.accepted.insert(key, traits);
    }

    /// Removes a message whose publisher has died before the broker acknowledged it: its delivery is not guaranteed.
    pub fn abandoned(&mut self, key: Key) {
        self.accepted.remove(&key);
    }

    /// Checks a message that an application has accepted.
    ///
    /// # Errors
    /// If the payload was not published, the topic or QoS is wrong, the message is out of order, or it is a duplicate
    /// that the QoS does not permit.
    pub fn delivered(
        &mut self,
        subscriber: usize,
        topic_name: &str,
        payload: &[u8],
        qos: u8,
        guarantees: impl FnOnce(Key) -> Guarantees,
    ) -> Result<(), Violation> {
        let Some(key) = Key::of_payload(payload) else {
            return Err(Violation::new(
                "I3",
                format!("a payload that nobody published: {payload:02x?}"),
            ));
        };
        let guarantees = guarantees(key);
        // The topic names the publisher, so a message that was delivered under another topic is found, too.
        let altered = topic_name != format!("t/{}", key.publisher);
        if altered || qos != key.qos.min(guarantees.granted) {
            return Err(Violation::new(
                "I3",
                format!("{key:?} came as {topic_name} at QoS {qos}"),
            ));
        }
        let count = self.deliveries.entry((subscriber, key)).or_default();
        *count += 1;
        if *count > 1 {
            if key.qos == 0 {
                return Err(Violation::new(
                    "I5",
                    format!("{key:?} came {count} times to {subscriber}"),
                ));
            }
            if is_exactly_once(key, guarantees) {
                return Err(Violation::new(
                    "I2",
                    format!("{key:?} came {count} times to {subscriber}"),
                ));
            }
            return Ok(());
        }
        // Three cases permit a message that is out of order. A publisher without a session resends messages as new
        // ones, after those that it sent meanwhile. A subscriber at QoS 0 may have missed the first delivery of a
        // message that its publisher then resent. A message that expired in the broker may arrive later, when its
        // publisher resends it.
        let expires = self.accepted.get(&key).is_some_and(|traits| traits.expires);
        let keeps_order = guarantees.keeps_order
            && !expires
            && guarantees.publisher_lasts
            && guarantees.subscriber_lasts
            && (key.qos == 0 || guarantees.granted > 0);
        let newest = self
            .newest
            .entry((subscriber, key.publisher, key.qos))
            .or_default();
        if key.number < *newest && keeps_order {
            return Err(Violation::new(
                "I4",
                format!("{key:?} came to {subscriber} after {newest}"),
            ));
        }
        *newest = key.number;
        Ok(())
    }

    /// Checks at the end of a run that every subscriber has got every message of QoS 1 and 2. `had_to_drop` returns
    /// `true` for a message that a full queue had to drop.
    ///
    /// # Errors
    /// If a message is missing.
    pub fn check_complete(
        &self,
        subscribers: impl Iterator<Item = usize> + Clone,
        guarantees: impl Fn(usize, Key) -> Guarantees,
        had_to_drop: impl Fn(usize, Key) -> bool,
    ) -> Result<(), Violation> {
        let promised = |(key, traits): &(&Key, &Traits)| key.qos > 0 && !traits.expires;
        for (key, traits) in self.accepted.iter().filter(promised) {
            for subscriber in subscribers.clone() {
                let guarantees = guarantees(subscriber, *key);
                let too_long = traits.is_long && !guarantees.takes_long;
                if !guarantees.subscriber_lasts || guarantees.granted == 0 || too_long {
                    continue;
                }
                let came = self.deliveries.contains_key(&(subscriber, *key));
                if !came && !had_to_drop(subscriber, *key) {
                    return Err(Violation::new(
                        "I1",
                        format!("{key:?} did not come to {subscriber}"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Returns the number of deliveries, duplicates included.
    pub fn count(&self) -> u64 {
        self.deliveries.values().sum()
    }
}

fn is_exactly_once(key: Key, guarantees: Guarantees) -> bool {
    key.qos == 2
        && guarantees.granted == 2
        && guarantees.publisher_lasts
        && guarantees.subscriber_lasts
        && guarantees.knows_repeats
}
