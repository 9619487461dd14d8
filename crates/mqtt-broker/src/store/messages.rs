//! [`SharedMessages`]: messages that are stored once although they wait for many clients. A delivery either contains
//! its message, which is cheapest for a single client, or refers to an entry of the table `messages` by its number.
//!
//! The core does not decide which messages are shared. All deliveries of one message have the same `Arc<Message>`, so
//! the store recognises them by the address of the message. The number of deliveries that refer to a message is not
//! stored. It is counted when the store is opened, and then updated in memory. A shared message is removed with its
//! last delivery.

use mqtt_broker_core::Mutation;
use mqtt_codec::Message;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Number of bytes that sharing a message must save. A shared message needs an additional entry, so a small message for
/// two clients is stored twice instead.
const WORTHWHILE: usize = 1024;

/// Estimated bytes that the file needs for one copy of a message in addition to its topic name and payload. The broker
/// needs about as much memory for it after a restart.
const OVERHEAD: usize = 200;

/// The shared messages of a store.
#[derive(Debug, Default)]
pub(super) struct SharedMessages {
    /// The number of the next shared message.
    next: u64,
    by_number: HashMap<u64, Entry>,
    /// The numbers of the messages that were shared in this run, by the address of the message. The [`Weak`] of the
    /// entry keeps the allocation alive, so that no other message can get the same address.
    by_address: HashMap<usize, u64>,
}

/// A shared message.
#[derive(Debug, Default)]
struct Entry {
    /// The number of deliveries that refer to the message.
    deliveries: u64,
    message: Weak<Message>,
}

/// The number of deliveries of each message in one commit, by the address of the message.
pub(super) type Receivers = HashMap<usize, usize>;

/// Counts the deliveries of each message in one commit.
pub(super) fn receivers(mutations: &[Mutation]) -> Receivers {
    let mut receivers = Receivers::new();
    for mutation in mutations {
        if let Mutation::Queued { outgoing, .. } = mutation {
            *receivers.entry(address(&outgoing.message)).or_default() += 1;
        }
    }
    receivers
}

/// Returns the address of a message, which identifies the message while an `Arc` or a `Weak` of it exists.
fn address(message: &Arc<Message>) -> usize {
    Arc::as_ptr(message).addr()
}

impl SharedMessages {
    /// Adds an entry of the table `messages`, without a delivery that refers to it.
    pub(super) fn found(&mut self, number: u64) {
        self.next = self.next.max(number.saturating_add(1));
        self.by_number.entry(number).or_default();
    }

    /// Counts a delivery that refers to the message with this number.
    pub(super) fn refer(&mut self, number: u64) {
        self.by_number.entry(number).or_default().deliveries += 1;
    }

    /// Returns the number of this message if it was shared in this run.
    pub(super) fn number_of(&self, message: &Arc<Message>) -> Option<u64> {
        self.by_address.get(&address(message)).copied()
    }

    /// Returns a new number for this message if sharing saves enough bytes. `receivers` has the number of its
    /// deliveries in this commit.
    pub(super) fn share(&mut self, message: &Arc<Message>, receivers: &Receivers) -> Option<u64> {
        let address = address(message);
        // Sharing avoids all copies except the first one.
        let copies = receivers.get(&address)?.saturating_sub(1);
        let size = OVERHEAD + message.topic_name.len() + message.payload.len();
        if copies.saturating_mul(size) < WORTHWHILE {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let entry = Entry {
            deliveries: 0,
            message: Arc::downgrade(message),
        };
        self.by_number.insert(number, entry);
        self.by_address.insert(address, number);
        Some(number)
    }

    /// Counts a removed delivery of the message with this number. Returns `true` if no delivery is left, so that the
    /// caller must remove the message.
    pub(super) fn release(&mut self, number: u64) -> bool {
        let Some(entry) = self.by_number.get_mut(&number) else {
            return false; // not possible: `refer` has counted the delivery
        };
        entry.deliveries = entry.deliveries.saturating_sub(1);
        if entry.deliveries > 0 {
            return false;
        }
        self.by_address.remove(&entry.message.as_ptr().addr());
        self.by_number.remove(&number);
        true
    }
}
