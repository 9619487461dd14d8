//! Messages that the store has only once, although each of them waits for many clients. A delivery holds its message,
//! which is cheapest for one client, or refers to an entry of the table `messages`.
//!
//! The core does not know about this: the deliveries of one message have the same `Arc<Message>`, and are
//! recognised by its address. How many deliveries refer to a message is not in the file: it is counted when the
//! store is opened, and kept in memory from then on. A message goes with its last delivery.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use mqtt_broker_core::Mutation;
use mqtt_codec::Message;

/// Sharing has to save this many bytes, as it costs an entry of its own: a small message for two clients is
/// written twice.
const WORTHWHILE: usize = 1024;

/// Bytes of a copy beside topic name and payload, in the file and in memory after a restart.
const OVERHEAD: usize = 200;

/// The shared messages of a store.
#[derive(Debug, Default)]
pub(super) struct SharedMessages {
    /// The number of the next shared message.
    next: u64,
    by_number: HashMap<u64, Entry>,
    /// The numbers of the messages that were shared in this run, by the address of the message. The [`Weak`] of the
    /// entry keeps the address from being used for another message.
    by_address: HashMap<usize, u64>,
}

#[derive(Debug, Default)]
struct Entry {
    deliveries: u64,
    message: Weak<Message>,
}

/// The number of deliveries of each message in one commit.
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

/// Two deliveries whose messages have the same address are deliveries of the same message.
fn address(message: &Arc<Message>) -> usize {
    Arc::as_ptr(message).addr()
}

impl SharedMessages {
    /// Records a message that is in the file.
    pub(super) fn found(&mut self, number: u64) {
        self.next = self.next.max(number.saturating_add(1));
        self.by_number.entry(number).or_default();
    }

    /// Records a delivery that refers to this message.
    pub(super) fn refer(&mut self, number: u64) {
        self.by_number.entry(number).or_default().deliveries += 1;
    }

    /// Returns the number of this message if it is shared already.
    pub(super) fn number_of(&self, message: &Arc<Message>) -> Option<u64> {
        self.by_address.get(&address(message)).copied()
    }

    /// Returns a new number for the message if sharing it among its receivers saves bytes.
    pub(super) fn share(&mut self, message: &Arc<Message>, receivers: &Receivers) -> Option<u64> {
        let address = address(message);
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

    /// Records that a delivery was removed. Returns `true` if it was the last one of this message.
    pub(super) fn release(&mut self, number: u64) -> bool {
        let Some(entry) = self.by_number.get_mut(&number) else {
            return false;
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
