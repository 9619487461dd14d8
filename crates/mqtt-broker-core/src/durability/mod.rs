//! The changes that have to survive a crash, the output that waits for them, and the state that was stored.

pub(crate) mod commit_gate;
pub(crate) mod mutation;
mod restore;
pub(crate) mod snapshot;

use std::sync::Arc;

use mqtt_codec::TopicName;

use self::commit_gate::CommitWaiters;
use self::mutation::Mutation;
use crate::sessions::client::Expiry;
use crate::sessions::client::{Client, Stored};
use crate::topics::retained::Retained;

/// The changes that are not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Durability {
    /// The mutations since `take_mutations`; `None` if nobody stores them.
    pub(crate) mutations: Option<Vec<Mutation>>,
    /// Connections whose output waits for a commit.
    pub(crate) waiters: CommitWaiters,
}

impl Durability {
    pub(crate) fn note_retained(&mut self, topic_name: TopicName, retained: Option<Retained>) {
        if let Some(mutations) = &mut self.mutations {
            mutations.push(Mutation::Retained {
                topic_name,
                retained,
            });
        }
    }

    /// Returns the part of this client that has to survive the broker.
    pub(crate) fn part_to_store(&self, client: &Client) -> Stored {
        match (client.expiry, &client.will) {
            _ if self.mutations.is_none() => Stored::Nothing,
            (Expiry::After(_) | Expiry::Never, _) => Stored::Session,
            (Expiry::WithConnection, Some(_)) => Stored::Will,
            (Expiry::WithConnection, None) => Stored::Nothing,
        }
    }

    /// Adds the mutation for the end of a stored session.
    pub(crate) fn note_gone(&mut self, client: Arc<str>) {
        if let Some(mutations) = &mut self.mutations {
            mutations.push(Mutation::ClientGone { client });
        }
    }

    /// Returns the number of mutations that were not taken yet.
    #[inline]
    pub(crate) fn mutation_count(&self) -> usize {
        self.mutations.as_ref().map_or(0, Vec::len)
    }
}
