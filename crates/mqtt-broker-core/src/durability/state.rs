//! [`Durability`]: the mutations that the caller has not taken yet, and the connections that wait for a commit.

use std::sync::Arc;

use mqtt_codec::TopicName;

use crate::durability::commit_gate::CommitWaiters;
use crate::durability::mutation::Mutation;
use crate::sessions::client::{Client, Expiry, Stored};
use crate::topics::retained::Retained;

/// The mutations that the caller has not taken yet, and the connections that wait for a commit.
#[derive(Debug, Default)]
pub(crate) struct Durability {
    /// The mutations since the last `take_mutations`. `None` if the broker has no store.
    pub(crate) mutations: Option<Vec<Mutation>>,
    /// Connections whose output waits for a commit.
    pub(crate) waiters: CommitWaiters,
}

impl Durability {
    /// Adds the mutation of a retained message that was replaced, or removed if `retained` is `None`.
    pub(crate) fn note_retained(&mut self, topic_name: TopicName, retained: Option<Retained>) {
        if let Some(mutations) = &mut self.mutations {
            mutations.push(Mutation::Retained {
                topic_name,
                retained,
            });
        }
    }

    /// Returns the part of this client that must survive a crash of the broker.
    pub(crate) fn part_to_store(&self, client: &Client) -> Stored {
        match (client.expiry, &client.will) {
            _ if self.mutations.is_none() => Stored::Nothing,
            (Expiry::After(_) | Expiry::Never, _) => Stored::Session,
            (Expiry::WithConnection, Some(_)) => Stored::Will,
            (Expiry::WithConnection, None) => Stored::Nothing,
        }
    }

    /// Adds the mutation for the end of a stored session.
    pub(crate) fn note_client_removed(&mut self, client: Arc<str>) {
        if let Some(mutations) = &mut self.mutations {
            mutations.push(Mutation::ClientRemoved { client });
        }
    }

    /// Returns the number of mutations that the caller has not taken yet.
    #[inline]
    pub(crate) fn mutation_count(&self) -> usize {
        self.mutations.as_ref().map_or(0, Vec::len)
    }
}
