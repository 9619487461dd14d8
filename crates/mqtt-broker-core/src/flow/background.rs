//! [`Background`]: the work that belongs to no connection and waits for `run_background`.

use std::collections::hash_map::IntoIter;
use std::collections::{BTreeSet, VecDeque};

use mqtt_codec::TopicFilter;

use crate::keys::ClientKey;
use crate::topics::subscriptions::SubscriptionState;

/// The work that waits for `run_background`.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// The clients whose session has ended, each with its subscriptions that are still in the topic tree. The table of
    /// clients no longer has these keys, so a message that matches such a subscription is delivered to nobody.
    pub(crate) stale_subscriptions: VecDeque<(ClientKey, IntoIter<TopicFilter, SubscriptionState>)>,
    /// Clients whose will or session end is due, but whose will has to wait for the store.
    pub(crate) deferred: BTreeSet<ClientKey>,
}
