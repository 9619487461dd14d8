//! Removes the subscriptions of ended sessions from the topic tree. A call removes as many as its work budget allows,
//! and later turns remove the rest.

use mqtt_codec::TopicFilter;

use crate::flow::state::Flow;
use crate::keys::ClientKey;
use crate::sessions::client::Client;
use crate::stats::state::Stats;
use crate::topics::state::Topics;

/// Removes from the topic tree the subscriptions of a client whose session has ended. This call removes as many as its
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
        flow.background
            .stale_subscriptions
            .push_back((key, subscriptions));
        remove_stale_subscriptions(topics, flow, stats);
    }
}

/// Removes stale subscriptions from the topic tree until the work budget of this call is spent.
pub(crate) fn remove_stale_subscriptions(topics: &mut Topics, flow: &mut Flow, stats: &mut Stats) {
    while !flow.work.is_spent() {
        let Some((key, subscriptions)) = flow.background.stale_subscriptions.front_mut() else {
            return; // all were removed
        };
        let key = *key;
        // Each round removes a single subscription, so that a session with many subscriptions does not exceed the
        // budget.
        match subscriptions.next() {
            Some((topic_filter, _)) => {
                flow.work.spend(1);
                remove_subscriber(topics, stats, &topic_filter, key);
            }
            None => {
                flow.background.stale_subscriptions.pop_front();
            }
        }
    }
}

/// Removes a subscription from the topic tree.
pub(crate) fn remove_subscriber(
    topics: &mut Topics,
    stats: &mut Stats,
    topic_filter: &TopicFilter,
    key: ClientKey,
) {
    stats.counters.subscribed(topic_filter, -1);
    // The tree has a shared subscription at its filter without the share name, so that one search finds all
    // subscriptions.
    let plain = topic_filter.without_share();
    topics
        .subscriptions
        .update(plain, |subscribers| subscribers.remove(topic_filter, key));
}
