//! [`Sessions`]: the table of clients, and the look-up by client identifier.

use std::collections::BTreeMap;
use std::sync::Arc;

use slotmap::SlotMap;

use crate::keys::ClientKey;
use crate::log_lines::targets::EVENTS;
use crate::sessions::client::Client;
use crate::topics::names::is_reserved;

/// The clients that are connected or have a session.
pub(crate) struct Sessions {
    pub(crate) clients: SlotMap<ClientKey, Client>,
    /// The keys of the clients by client identifier. The map is ordered, because iteration must not depend on a random
    /// hash seed: the same input must give the same run.
    pub(crate) by_identifier: BTreeMap<Arc<str>, ClientKey>,
    /// Returns the random bits for the client identifiers that the broker assigns.
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

    /// Returns a client that must be in the table, because a connection refers to it or the caller has just looked it
    /// up. If the client is missing, this function logs an error, and panics in debug builds.
    #[inline]
    pub(crate) fn known(&self, key: ClientKey) -> Option<&Client> {
        let client = self.clients.get(key);
        if client.is_none() {
            report_missing();
        }
        client
    }

    /// Returns a client that must be in the table, like [`Sessions::known`].
    #[inline]
    pub(crate) fn known_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        let client = self.clients.get_mut(key);
        if client.is_none() {
            report_missing();
        }
        client
    }

    /// Returns the identifier of the client with the longest queue, and the number of messages in that queue. Returns
    /// `None` if all queues are empty.
    pub(crate) fn longest_queue(&self) -> Option<(&str, usize)> {
        let queues = self.clients.values();
        let queues = queues.map(|client| (&*client.identifier, client.queue.len()));
        queues
            .filter(|(_, count)| *count > 0)
            .max_by_key(|(_, count)| *count)
    }

    /// Returns `true` if this client must not publish to the topic, because only the broker publishes to it.
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
