//! Checks the limit of the queues (I20): no queue exceeds the limit, the broker drops a message only while the queue of
//! its subscriber is full, and the broker counts every drop. A run is checked only if its messages can wait for no
//! other reason than a full window, or a slow or absent client.
//!
//! The model does not follow the window of the broker. It records the turn in which the broker reads each message and
//! the turn in which the broker first sends the message to each subscriber. At the end of a run these turns show how
//! many messages waited at each time.

use std::collections::{BTreeMap, BTreeSet};

use crate::Violation;
use crate::oracle::Key;
use crate::wire::WirePacket;

/// The messages for subscribers whose session lasts, in a run with a limit.
#[derive(Debug)]
pub(crate) struct Queues {
    limit: usize,
    /// The number of the current turn.
    turn: u64,
    /// The messages by subscriber, in the order in which the broker has read them.
    copies: BTreeMap<usize, Vec<Waiting>>,
    /// The hash of topic name and payload of each message, which finds the message on the wire.
    contents: BTreeMap<Key, u64>,
    /// The packet identifiers of QoS 2 that the broker holds until PUBREL, by publisher. A PUBLISH with such an
    /// identifier is a duplicate.
    held: BTreeSet<(usize, u16)>,
}

/// A message for a subscriber, which waits from one turn to another.
#[derive(Debug)]
struct Waiting {
    content: u64,
    /// The turn in which the broker read the message.
    from: u64,
    /// The turn in which the broker sent the message; `None` if it never did.
    to: Option<u64>,
}

impl Queues {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            turn: 0,
            copies: BTreeMap::new(),
            contents: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    /// Records a message of QoS 1 or 2 that a client has published.
    pub(crate) fn published(&mut self, key: Key, content: u64) {
        self.contents.insert(key, content);
    }

    /// Begins a turn of the broker.
    pub(crate) fn begin_turn(&mut self) {
        self.turn += 1;
    }

    /// Records that a publisher begins a new session, so that the broker holds none of its packet identifiers.
    pub(crate) fn forget_held(&mut self, publisher: usize) {
        self.held.retain(|(holder, _)| *holder != publisher);
    }

    /// Handles a packet of a publisher that the broker has read. Each of `subscribers`, given with its granted QoS,
    /// must get the message.
    pub(crate) fn broker_reads(
        &mut self,
        publisher: usize,
        packet: &WirePacket,
        subscribers: impl Iterator<Item = (usize, u8)>,
    ) {
        let held = (publisher, packet.identifier);
        if packet.kind == 6 {
            self.held.remove(&held);
        }
        let is_new = packet.kind == 3 && (packet.qos < 2 || self.held.insert(held));
        for (subscriber, granted) in subscribers {
            if is_new && packet.qos.min(granted) > 0 {
                self.copies.entry(subscriber).or_default().push(Waiting {
                    content: packet.content,
                    from: self.turn,
                    to: None,
                });
            }
        }
    }

    /// Handles a packet that the broker sends to a subscriber.
    pub(crate) fn broker_sends(&mut self, subscriber: usize, packet: &WirePacket) {
        if packet.kind != 3 || packet.qos == 0 || packet.dup {
            return;
        }
        let copies = self.copies.entry(subscriber).or_default();
        let is_it = |copy: &&mut Waiting| copy.content == packet.content && copy.to.is_none();
        if let Some(copy) = copies.iter_mut().find(is_it) {
            copy.to = Some(self.turn);
        }
    }

    /// Returns `true` if the broker had to drop this message, which was not delivered.
    pub(crate) fn had_to_drop(&self, subscriber: usize, key: Key) -> bool {
        let content = self.contents.get(&key);
        let copies = self.copies.get(&subscriber).map_or(&[][..], Vec::as_slice);
        let index = copies
            .iter()
            .position(|copy| Some(&copy.content) == content);
        index.is_some_and(|index| {
            let (before, rest) = copies.split_at(index);
            // An earlier message that was sent in this turn may have waited until after this message was dropped.
            let now = rest[0].from;
            let waited = |copy: &&Waiting| copy.to.is_some_and(|to| to >= now);
            before.iter().filter(waited).count() >= self.limit
        })
    }

    /// Returns the number of messages that the broker has dropped.
    pub(crate) fn dropped(&self) -> u64 {
        let copies = self.copies.values().flatten();
        copies.filter(|copy| copy.to.is_none()).count() as u64
    }

    /// Checks that no more messages than the limit waited for a client at any time.
    ///
    /// # Errors
    /// If more messages waited (I20).
    pub(crate) fn check(&self) -> Result<(), Violation> {
        for (subscriber, copies) in &self.copies {
            let mut count_of = BTreeMap::<u64, u32>::new();
            for copy in copies {
                *count_of.entry(copy.content).or_default() += 1;
            }
            // If the broker has read a message of QoS 1 twice, nothing shows which of its two copies was dropped.
            let is_single = |copy: &&Waiting| count_of.get(&copy.content) == Some(&1);
            let mut changes = BTreeMap::<u64, i64>::new();
            for copy in copies.iter().filter(is_single) {
                if let Some(to) = copy.to {
                    *changes.entry(copy.from).or_default() += 1;
                    *changes.entry(to).or_default() -= 1;
                }
            }
            let mut waiting = 0;
            for change in changes.values() {
                waiting += change;
                if waiting > self.limit as i64 {
                    let what = format!(
                        "{waiting} messages wait for client {subscriber}, where {} may",
                        self.limit
                    );
                    return Err(Violation::new("I20", what));
                }
            }
        }
        Ok(())
    }
}
