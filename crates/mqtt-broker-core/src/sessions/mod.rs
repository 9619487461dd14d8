//! The state of each client, which outlives its connection: subscriptions, waiting messages, replays of retained
//! messages, and the owner of the session.

mod block_queue;
pub(crate) mod client;
pub(crate) mod expiry;
pub(crate) mod owner;
pub(crate) mod queue;
pub(crate) mod replay;

use std::collections::BTreeMap;
use std::sync::Arc;

use slotmap::SlotMap;

use self::client::{Client, ClientKey};
use crate::log_lines::EVENTS;
use crate::topics::names::is_reserved;

/// The clients, connected or not, and their sessions.
pub(crate) struct Sessions {
    pub(crate) clients: SlotMap<ClientKey, Client>,
    pub(crate) by_identifier: BTreeMap<Arc<str>, ClientKey>,
    /// The source of the identifiers that the broker chooses.
    pub(crate) random: Box<dyn FnMut() -> u128 + Send>,
}

impl Sessions {
    pub(crate) fn new(random: Box<dyn FnMut() -> u128 + Send>) -> Self {
        Self {
            clients: SlotMap::with_key(),
            by_identifier: BTreeMap::new(),
            random,
        }
    }

    /// Returns a client that must be in the table: a connection has it, or the caller has just found it. A miss is a bug,
    /// which is logged and fails in debug builds.
    #[inline]
    pub(crate) fn known(&self, key: ClientKey) -> Option<&Client> {
        let client = self.clients.get(key);
        if client.is_none() {
            report_missing();
        }
        client
    }

    /// Returns a client that must be in the table, as `known`.
    #[inline]
    pub(crate) fn known_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        let client = self.clients.get_mut(key);
        if client.is_none() {
            report_missing();
        }
        client
    }
}

impl Sessions {
    /// Returns the client with the longest queue, and the number of messages in it.
    pub(crate) fn longest_queue(&self) -> Option<(&str, usize)> {
        let queues = self.clients.values();
        let queues = queues.map(|client| (&*client.identifier, client.queue.len()));
        queues
            .filter(|(_, count)| *count > 0)
            .max_by_key(|(_, count)| *count)
    }

    /// Returns `true` if this client must not publish to the topic, which is one of the broker's own.
    pub(crate) fn is_reserved_for(&self, publisher: ClientKey, topic_name: &str) -> bool {
        topic_name.starts_with('$') && {
            let client = self.clients.get(publisher);
            is_reserved(topic_name, client.map_or("", |client| &*client.identifier))
        }
    }
}

#[cold]
fn report_missing() {
    log::error!(target: EVENTS, "internal error: a client is not in the table");
    debug_assert!(false, "a client is not in the table");
}
