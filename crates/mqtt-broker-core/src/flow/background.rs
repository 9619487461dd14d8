//! The work that belongs to no connection, and gets its own share of each turn: large publications (`fan_out.rs`), the
//! subscriptions of sessions that have ended, wills and session ends that wait for the store.

use std::collections::hash_map::IntoIter;
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use mqtt_codec::{QoS, TopicFilter};

use crate::broker::Broker;
use crate::durability::Durability;
use crate::flow::Flow;
use crate::packets::subscribe;
use crate::resources::Resources;
use crate::routing::fan_out;
use crate::sessions::client::{Client, ClientKey, SubscriptionState};
use crate::sessions::expiry;
use crate::stats::Stats;
use crate::topics::Topics;

#[derive(Debug, Default)]
pub(crate) struct Background {
    /// Clients whose session has ended, and those of their subscriptions that are still in the tree. Their keys are in
    /// no table any more, so the subscriptions match nobody.
    pub(crate) gone: VecDeque<(ClientKey, IntoIter<TopicFilter, SubscriptionState>)>,
    /// Clients whose will or session end is due, and whose will has to wait for the store.
    pub(crate) deferred: BTreeSet<ClientKey>,
}

/// Removes the subscriptions of a client that is in no table any more: immediately as far as the budget of this call
/// goes, the rest in the background.
pub(crate) fn remove_subscriptions(
    topics: &mut Topics,
    flow: &mut Flow,
    stats: &mut Stats,
    key: ClientKey,
    client: &mut Client,
) {
    let subscriptions = std::mem::take(&mut client.subscriptions);
    if !subscriptions.is_empty() {
        let subscriptions = subscriptions.into_iter();
        flow.background.gone.push_back((key, subscriptions));
        remove_subscriptions_of_gone(topics, flow, stats);
    }
}

pub(crate) fn remove_subscriptions_of_gone(
    topics: &mut Topics,
    flow: &mut Flow,
    stats: &mut Stats,
) {
    while !flow.work.is_spent() {
        let Some((key, subscriptions)) = flow.background.gone.front_mut() else {
            return;
        };
        let key = *key;
        match subscriptions.next() {
            Some((topic_filter, _)) => {
                flow.work.spend(1);
                subscribe::remove_subscriber(topics, stats, &topic_filter, key);
            }
            None => {
                flow.background.gone.pop_front();
            }
        }
    }
}

/// Defers a client whose will or session end is due, if the will must not be published now. The will and the end of the
/// session stay with the client until then, so a crash loses neither.
pub(crate) fn defer(broker: &mut Broker, key: ClientKey) -> bool {
    let will = broker
        .sessions
        .clients
        .get(key)
        .and_then(|client| client.will.as_ref());
    let makes_mutations =
        will.is_some_and(|will| will.qos > QoS::AtMostOnce || will.message.retain);
    let is_deferred = makes_mutations
        && is_will_deferred(&broker.durability, &mut broker.flow, &broker.resources);
    if is_deferred {
        broker.flow.background.deferred.insert(key);
    }
    is_deferred
}

/// Returns `true` if a will that makes mutations has to wait, since its delivery in slices could not begin now.
pub(crate) fn is_will_deferred(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> bool {
    durability.mutations.is_some()
        && (flow.is_fanning_out() || !fan_out::may_mutate_now(durability, flow, resources))
}

/// Handles the deferred clients, as far as the store has room.
pub(crate) fn handle_deferred(broker: &mut Broker, now: Instant) {
    while !broker.flow.work.is_spent()
        && !is_will_deferred(&broker.durability, &mut broker.flow, &broker.resources)
    {
        let Some(key) = broker.flow.background.deferred.pop_first() else {
            return;
        };
        broker.flow.work.spend(1);
        expiry::handle_client_timeout(broker, now, key);
    }
}
