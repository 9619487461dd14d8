//! Restores the stored state when the broker starts.
//!
//! The topics in the stored state are checked first. The store detects corruption by checksums. A file that was edited
//! on purpose has valid checksums, but may have topics that the broker would have rejected from a client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::Will;
use mqtt_session::Session;

use crate::auth::state::Auth;
use crate::broker::Broker;
use crate::durability::mutation::Mutation;
use crate::durability::snapshot::{ClientSnapshot, Snapshot};
use crate::durability::state::Durability;
use crate::keys::ClientKey;
use crate::lifecycle::expiry;
use crate::log_lines::targets::EVENTS;
use crate::routing::retain;
use crate::sessions::client::{Client, Expiry};
use crate::sessions::queue::Queued;
use crate::sessions::retained_replays::RetainedReplay;
use crate::topics::subscriptions::Subscriber;

/// Restores the stored state into a new broker. Clients that were connected count as disconnected at `now`.
pub(crate) fn restore(broker: &mut Broker, now: Instant, mut saved: Snapshot) {
    drop_too_deep(&broker.auth, &mut broker.durability, &mut saved);
    for retained in saved.retained {
        broker.topics.retained.restore(retained);
    }
    retain::await_sweep(&mut broker.topics, &mut broker.flow, &broker.resources, now);
    // All clients are restored before the first will is published, so that every subscriber of the will receives it.
    let restored: Vec<_> = saved
        .clients
        .into_iter()
        .map(|client| {
            (
                client.state.is_connected,
                restore_client(broker, now, client),
            )
        })
        .collect();
    for (was_connected, key) in restored {
        if was_connected {
            expiry::handle_disconnected(broker, now, key)
        } else {
            expiry::handle_client_timeout(broker, now, key)
        }
    }
}

/// Adds a client from its snapshot to the broker, with its session and its subscriptions.
fn restore_client(broker: &mut Broker, now: Instant, saved: ClientSnapshot) -> ClientKey {
    let identifier: Arc<str> = saved.identifier.into();
    let mut client = Client::new(Arc::clone(&identifier));
    client.next_number = saved.deliveries.last().map_or(0, |last| last.number + 1);
    let mut sent = Vec::new();
    for delivery in saved.deliveries {
        match (delivery.sent, delivery.outgoing) {
            (Some(packet_identifier), outgoing) => {
                client.in_flight.insert(packet_identifier, delivery.number);
                client.next_to_send = client.next_to_send.max(delivery.number + 1);
                sent.push((packet_identifier, outgoing));
            }
            (None, Some(outgoing)) => {
                let number = delivery.number;
                client.queue.push(Queued {
                    number,
                    outgoing,
                    blocks_qos_0: false,
                });
            }
            (None, None) => {} // the broker never stores such a delivery
        }
    }
    broker
        .stats
        .counters
        .count_queue((0, 0), client.queue.totals());
    for (topic_filter, state) in saved.retained_replays {
        // A replay compares the numbers and versions of new messages with its own, so the counters must continue above
        // them.
        client.next_number = client.next_number.max(state.number);
        broker.topics.retained.raise_version(state.version);
        client.retained_replays.insert(RetainedReplay {
            topic_filter,
            recorded: Some(state.clone()),
            state,
        });
    }
    client.session = Some(Box::new(Session::restore(sent, saved.held)));
    for (topic_filter, state) in &saved.subscriptions {
        client.insert_subscription(topic_filter.clone(), *state);
    }
    client.principal.user_name = saved.state.user_name;
    client.principal.listener = saved.state.listener;
    client.expiry = saved.state.expiry;
    client.will = saved.state.will.map(Box::new);
    client.stored = broker.durability.part_to_store(&client);
    // Stored deadlines depend on a clock that may have been wrong. A session must not last longer than its expiry from
    // now on, and a will must not wait longer than its delay.
    let longest = match client.expiry {
        Expiry::After(time) => now.checked_add(time),
        Expiry::WithConnection | Expiry::Never => None,
    };
    let session_ends = saved.state.session_ends;
    client.session_ends = session_ends.map(|ends| longest.map_or(ends, |most| ends.min(most)));
    let delay = |will: &Will| Duration::from_secs(will.will_delay_interval.unwrap_or(0).into());
    let latest = client.will.as_ref().map(|will| now + delay(will));
    client.will_due = saved.state.will_due.min(latest);
    let subscriptions = saved.subscriptions;
    let key = broker.sessions.clients.insert(client);
    broker.sessions.by_identifier.insert(identifier, key);
    for (topic_filter, state) in subscriptions {
        broker.stats.counters.subscribed(&topic_filter, 1);
        let subscriber = Subscriber { client: key, state };
        broker
            .topics
            .subscriptions
            .insert(topic_filter.without_share(), |subscribers| {
                subscribers.add(&topic_filter, subscriber)
            });
    }
    key
}

/// Removes retained messages, subscriptions and wills whose topic has more levels than a client may use, from `saved`
/// and from the store. The broker relies on this limit for the cost of matching a topic.
pub(crate) fn drop_too_deep(auth: &Auth, durability: &mut Durability, saved: &mut Snapshot) {
    let limit = auth.maximum_levels();
    // `take` bounds the count, because a stored topic may have 65,536 levels.
    let is_deep = |topic: &str| mqtt_codec::levels(topic).take(limit + 1).count() > limit;
    let mut removed = Vec::new();
    saved.retained.retain(|retained| {
        let topic_name = &retained.message.topic_name;
        let is_deep = is_deep(topic_name);
        if is_deep {
            removed.push(Mutation::Retained {
                topic_name: topic_name.clone(),
                retained: None,
            });
        }
        !is_deep
    });
    for client in &mut saved.clients {
        client.subscriptions.retain(|(topic_filter, _)| {
            let is_deep = is_deep(topic_filter);
            if is_deep {
                removed.push(Mutation::Unsubscribed {
                    client: client.identifier.as_str().into(),
                    topic_filter: topic_filter.clone(),
                });
            }
            !is_deep
        });
        let will = &mut client.state.will;
        if will
            .take_if(|will| is_deep(&will.message.topic_name))
            .is_some()
        {
            client.state.will_due = None;
            removed.push(Mutation::Client {
                client: client.identifier.as_str().into(),
                state: client.state.clone(),
            });
        }
    }
    if !removed.is_empty() {
        log::warn!(
            target: EVENTS,
            "{} retained messages, subscriptions and wills are removed from the store, because their topics have more than \
             {limit} levels.",
            removed.len()
        );
    }
    // The store keeps nothing that the broker does not use. Otherwise the warning would return at each start.
    if let Some(mutations) = &mut durability.mutations {
        mutations.append(&mut removed);
    }
}
