//! The work that belongs to no connection, and has a budget of its own in each turn: the removal of the subscriptions
//! of ended sessions, and wills and session ends that wait for the store. Large publications have the same budget as
//! these wills; their code is in `fan_out.rs`.

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

/// The work that waits for `run_background`.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// The clients whose session has ended, each with its subscriptions that are still in the topic tree. The table of
    /// clients no longer has these keys, so a message that matches such a subscription is delivered to nobody.
    pub(crate) gone: VecDeque<(ClientKey, IntoIter<TopicFilter, SubscriptionState>)>,
    /// Clients whose will or session end is due, but whose will has to wait for the store.
    pub(crate) deferred: BTreeSet<ClientKey>,
}

/// Removes the subscriptions of a client whose session has ended from the topic tree. This call removes as many as its
/// work budget allows; `run_background` removes the rest. A session may have 100,000 subscriptions, whose removal takes
/// too long for one turn.
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

/// Removes stale subscriptions from the topic tree until the work budget of this call is spent.
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

/// Defers a client whose will or session end is due, if the will must not be published now. Returns `true` if the
/// client was deferred. The store keeps the will and the session until the will is published, so a crash loses neither.
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

/// Returns `true` if a will that makes mutations has to wait, because a delivery in slices could not begin now. The
/// will is removed from the store in the same turn, so it must not wait in the queue of publications instead: a crash
/// would lose it.
pub(crate) fn is_will_deferred(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> bool {
    durability.mutations.is_some()
        && (flow.is_fanning_out() || !fan_out::may_mutate_now(durability, flow, resources))
}

/// Publishes the wills and ends the sessions of deferred clients until the budget is spent or the store is behind
/// again.
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
