//! The limit of a queue (I20), in runs in which messages wait for nothing but the window and the client:
//! never more than the limit waits for a client, a message is dropped only while as many wait that came
//! before it, and every drop is counted.
//!
//! The model does not follow the window. It notes when the broker takes each message, and when it first
//! sends it to each subscriber, and compares the two at the end of a run.

use std::collections::{BTreeMap, BTreeSet};

use crate::Violation;
use crate::oracle::Key;
use crate::wire::WirePacket;

/// The messages for lasting subscribers, in a run with a limit.
#[derive(Debug)]
pub(crate) struct Queues {
    limit: usize,
    /// The number of the call of the broker.
    turn: u64,
    /// By subscriber, in the order in which the broker took them.
    copies: BTreeMap<usize, Vec<Waiting>>,
    /// The bytes of each message on the wire.
    contents: BTreeMap<Key, u64>,
    /// Identifiers of QoS 2 that the broker holds, by publisher.
    held: BTreeSet<(usize, u16)>,
}

/// A message for a subscriber.
#[derive(Debug)]
struct Waiting {
    content: u64,
    /// The turn in which the broker took it.
    from: u64,
    /// The turn in which the broker sent it; `None` if it never did.
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

    /// A client has published a message of QoS 1 or 2.
    pub(crate) fn published(&mut self, key: Key, content: u64) {
        self.contents.insert(key, content);
    }

    /// The broker is about to be given something to read.
    pub(crate) fn begin_turn(&mut self) {
        self.turn += 1;
    }

    /// The session of a publisher begins anew.
    pub(crate) fn forget_held(&mut self, publisher: usize) {
        self.held.retain(|(holder, _)| *holder != publisher);
    }

    /// The broker takes a packet of a publisher. Each of the subscribers, given with their QoS, is to
    /// get a message.
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

    /// The broker sends a packet to a subscriber.
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

    /// Returns `true` if the broker had to drop this message, which the subscriber has not got.
    pub(crate) fn had_to_drop(&self, subscriber: usize, key: Key) -> bool {
        let content = self.contents.get(&key);
        let copies = self.copies.get(&subscriber).map_or(&[][..], Vec::as_slice);
        let index = copies
            .iter()
            .position(|copy| Some(&copy.content) == content);
        index.is_some_and(|index| {
            let (before, rest) = copies.split_at(index);
            let now = rest[0].from;
            let waited = |copy: &&Waiting| copy.to.is_some_and(|to| to >= now);
            before.iter().filter(waited).count() >= self.limit
        })
    }

    /// The number of messages that the broker has dropped.
    pub(crate) fn dropped(&self) -> u64 {
        let copies = self.copies.values().flatten();
        copies.filter(|copy| copy.to.is_none()).count() as u64
    }

    /// Looks for a time at which more than the limit waited for a client.
    ///
    /// # Errors
    /// If there is one (I20).
    pub(crate) fn check(&self) -> Result<(), Violation> {
        for (subscriber, copies) in &self.copies {
            let mut count_of = BTreeMap::<u64, u32>::new();
            for copy in copies {
                *count_of.entry(copy.content).or_default() += 1;
            }
            // Of a message that came twice nobody knows which one was dropped.
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
