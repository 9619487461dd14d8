//! Handles SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0, 3.8 and 3.10). A packet with many topic filters is handled in several
//! turns, and answered after its last filter. `routing/retained_replay.rs` begins to send the retained messages for a
//! new subscription.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{QoS, ReasonCode, Suback, Subscribe, Subscription, TopicFilter, Unsubscribe};
use mqtt_session::Printable;

use crate::auth::state::Auth;
use crate::broker::Broker;
use crate::durability::mutation::Mutation;
use crate::durability::record;
use crate::keys::{ClientKey, ConnectionId};
use crate::lifecycle::stale_subscriptions;
use crate::log_lines::targets::EVENTS;
use crate::packets::wait;
use crate::routing::{permissions, retained_replay, sending};
use crate::sessions::client::Stored;
use crate::sessions::state::Sessions;
use crate::task::{FiltersTask, LeftFilters, SubscribeTerms, Task};
use crate::topics::names::is_too_deep;
use crate::topics::subscriptions::{Subscriber, SubscriptionState};

/// Maximum number of subscriptions of a client. It bounds the memory of a session, and the work at its end.
const MAXIMUM_SUBSCRIPTIONS: usize = 100_000;

/// Begins to handle a SUBSCRIBE.
pub(crate) fn handle_subscribe(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    key: ClientKey,
    subscribe: Subscribe,
) {
    let listener = broker
        .connections
        .get(id)
        .map(|connection| connection.listener);
    let maximum_qos = listener.and_then(|listener| broker.auth.policy(listener).limits.maximum_qos);
    // `maximum_qos` is read once, so that a reload does not change it between two filters of the packet.
    let terms = SubscribeTerms {
        identifier: subscribe.properties.subscription_identifier,
        maximum_qos: maximum_qos.unwrap_or(QoS::ExactlyOnce),
    };
    let task = FiltersTask {
        packet_identifier: subscribe.packet_identifier,
        reason_codes: Vec::with_capacity(subscribe.subscriptions.len()),
        left: LeftFilters::Subscribe(terms, subscribe.subscriptions.into_iter()),
    };
    continue_filters(broker, now, id, key, task);
}

/// Begins to handle an UNSUBSCRIBE.
pub(crate) fn handle_unsubscribe(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    key: ClientKey,
    unsubscribe: Unsubscribe,
) {
    let task = FiltersTask {
        packet_identifier: unsubscribe.packet_identifier,
        reason_codes: Vec::with_capacity(unsubscribe.topic_filters.len()),
        left: LeftFilters::Unsubscribe(unsubscribe.topic_filters.into_iter()),
    };
    continue_filters(broker, now, id, key, task);
}

/// Adds or removes subscriptions until none is left or the connection must stop for this turn. After the last one,
/// answers the packet.
pub(crate) fn continue_filters(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    key: ClientKey,
    mut task: FiltersTask,
) {
    loop {
        if must_stop(broker, id, key) {
            return broker.connections.defer_packet(id, Task::Filters(task));
        }
        // Work and mutations are counted for each filter, because a packet may have thousands of filters.
        let before = broker.durability.mutation_count();
        let reason_code = match &mut task.left {
            LeftFilters::Subscribe(terms, left) => left
                .next()
                .map(|subscription| subscribe(broker, id, key, *terms, subscription)),
            LeftFilters::Unsubscribe(left) => left
                .next()
                .map(|topic_filter| unsubscribe(broker, key, &topic_filter)),
        };
        let Some(reason_code) = reason_code else {
            return answer(broker, now, id, key, task);
        };
        // The reason codes have the order of the filters in the packet [MQTT-3.9.3-1].
        task.reason_codes.push(reason_code);
        broker.flow.throttle.note_mutations_of(
            &mut broker.connections,
            &broker.durability,
            id,
            before,
        );
    }
}

/// Answers with SUBACK and begins to send the retained messages, or answers with UNSUBACK.
fn answer(broker: &mut Broker, now: Instant, id: ConnectionId, key: ClientKey, task: FiltersTask) {
    let (identifier, reason_codes) = (task.packet_identifier, task.reason_codes);
    match task.left {
        LeftFilters::Subscribe(..) => {
            broker.connections.answer(now, id, identifier, reason_codes);
            // SUBACK is in the output already, so the client usually gets it before the retained messages. Another
            // message for the client may have started the replays earlier, which MQTT 5.0, 3.8.4 permits.
            sending::send_queue(broker, now, key);
        }
        LeftFilters::Unsubscribe(_) => {
            if let Some(connection) = broker.connections.get_mut(id) {
                let unsuback = Suback::new(identifier, reason_codes);
                connection.protocol.unsuback(now, unsuback);
            }
        }
    }
}

/// Adds one subscription, and returns its reason code.
fn subscribe(
    broker: &mut Broker,
    id: ConnectionId,
    key: ClientKey,
    terms: SubscribeTerms,
    mut subscription: Subscription,
) -> ReasonCode {
    broker.flow.work.spend(1);
    let options = &mut subscription.options;
    options.qos = options.qos.min(terms.maximum_qos);
    // SUBSCRIBE of 3.x has neither No Local nor Retain As Published. A bridge of 5.0 sets both options itself.
    if broker.connections.is_bridge_without_options(id) {
        options.no_local = true;
        options.retain_as_published = true;
    }
    let state = SubscriptionState {
        options: subscription.options,
        identifier: terms.identifier,
    };
    let result = match mounted_filter(
        &broker.auth,
        &broker.sessions,
        key,
        &subscription.topic_filter,
    ) {
        Ok(mounted) => {
            subscription.topic_filter = mounted.unwrap_or(subscription.topic_filter);
            add_subscription(broker, key, &subscription, state)
        }
        Err(reason_code) => Err(reason_code),
    };
    match result {
        Ok(is_new) => {
            let filter = &subscription.topic_filter;
            retained_replay::begin_replay(broker, key, filter, state, is_new);
            ReasonCode::granted(subscription.options.qos)
        }
        Err(reason_code) => reason_code,
    }
}

/// Removes one subscription, and returns its reason code.
fn unsubscribe(broker: &mut Broker, key: ClientKey, topic_filter: &TopicFilter) -> ReasonCode {
    broker.flow.work.spend(1);
    // If the filter is too long with its mount point, the client cannot have subscribed to it.
    let mounted = mounted_filter(&broker.auth, &broker.sessions, key, topic_filter)
        .ok()
        .flatten();
    let topic_filter = mounted.as_ref().unwrap_or(topic_filter);
    let client = broker.sessions.clients.get_mut(key);
    if !client.is_some_and(|client| client.remove_subscription(topic_filter)) {
        return ReasonCode::NoSubscriptionExisted;
    }
    stale_subscriptions::remove_subscriber(
        &mut broker.topics,
        &mut broker.stats,
        topic_filter,
        key,
    );
    retained_replay::end_replay(
        &mut broker.connections,
        &mut broker.sessions,
        &mut broker.durability,
        key,
        topic_filter,
    );
    record::note(
        &mut broker.connections,
        &broker.sessions,
        &mut broker.durability,
        key,
        |client| Mutation::Unsubscribed {
            client: Arc::clone(&client.identifier),
            topic_filter: topic_filter.clone(),
        },
    );
    ReasonCode::Success
}

/// Returns `true` if the rest of the packet must continue in a later turn, because the work budget is spent or the
/// mutations of a stored session have to wait for the store.
fn must_stop(broker: &mut Broker, id: ConnectionId, key: ClientKey) -> bool {
    let client = broker.sessions.clients.get(key);
    let is_stored = client.is_some_and(|client| client.stored == Stored::Session);
    broker.flow.work.is_spent() || is_stored && wait::is_throttled(broker, id)
}

/// Returns the filter with the mount point of the client, or `None` if the client has no mount point. In a shared
/// subscription the mount point follows the share name.
///
/// # Errors
/// Returns reason code 0x8F (Topic Filter invalid) if the filter with the mount point is too long.
fn mounted_filter(
    auth: &Auth,
    sessions: &Sessions,
    key: ClientKey,
    filter: &TopicFilter,
) -> Result<Option<TopicFilter>, ReasonCode> {
    let Some(mount_point) = permissions::mount_point(auth, sessions, key) else {
        return Ok(None);
    };
    let plain = filter.without_share();
    // The text is `$share/NAME/` for a shared subscription, and empty otherwise.
    let share = filter.strip_suffix(plain).unwrap_or_default();
    let mounted = TopicFilter::new(&format!("{share}{mount_point}{plain}"));
    mounted
        .map(Some)
        .map_err(|_| ReasonCode::TopicFilterInvalid)
}

/// Adds a subscription, or replaces the one with the same filter [MQTT-3.8.4-3]. Returns `true` if the subscription is
/// new.
///
/// # Errors
/// Returns the reason code with which SUBACK rejects the subscription.
fn add_subscription(
    broker: &mut Broker,
    key: ClientKey,
    subscription: &Subscription,
    state: SubscriptionState,
) -> Result<bool, ReasonCode> {
    let filter = &subscription.topic_filter;
    let is_memory_exhausted = broker.resources.is_memory_exhausted();
    let client = broker
        .sessions
        .clients
        .get_mut(key)
        .ok_or(ReasonCode::UnspecifiedError)?;
    if is_too_deep(filter) {
        return Err(ReasonCode::TopicFilterInvalid);
    }
    // An unchanged subscription is accepted even without memory or storage, because it needs none.
    let before = client.subscriptions.get(filter);
    if before == Some(&state) {
        return Ok(false); // a client that repeats its SUBSCRIBE after each reconnect adds no mutation
    }
    let is_new = before.is_none();
    let is_storage_exhausted =
        broker.resources.is_store_above_limit && client.stored == Stored::Session;
    if is_new
        && (is_storage_exhausted
            || is_memory_exhausted
            || client.subscriptions.len() >= MAXIMUM_SUBSCRIPTIONS)
    {
        return Err(ReasonCode::QuotaExceeded);
    }
    if client.has_too_many_identifiers(state.identifier) {
        return Err(ReasonCode::QuotaExceeded);
    }
    client.insert_subscription(filter.clone(), state);
    broker.stats.counters.subscribed(filter, i64::from(is_new));
    let qos = state.options.qos;
    let name = Printable(&client.identifier);
    log::debug!(target: EVENTS, "{name} {qos} {}", Printable(filter));
    let subscriber = Subscriber { client: key, state };
    broker
        .topics
        .subscriptions
        .insert(filter.without_share(), |subscribers| {
            subscribers.add(filter, subscriber)
        });
    record::note(
        &mut broker.connections,
        &broker.sessions,
        &mut broker.durability,
        key,
        |client| Mutation::Subscribed {
            client: Arc::clone(&client.identifier),
            topic_filter: filter.clone(),
            state,
        },
    );
    Ok(is_new)
}
