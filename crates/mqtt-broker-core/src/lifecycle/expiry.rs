//! Ends sessions and publishes wills when they are due (MQTT 5.0, 3.1.2.5 and 3.1.3.2.2).
//!
//! A will is due after the Will Delay Interval or at the end of the session, whichever comes first. While too many
//! mutations wait for a commit, wills that make mutations are deferred with the ends of their sessions, until
//! `background/deferred.rs` publishes them.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::QoS;

use crate::broker::Broker;
use crate::durability::record;
use crate::keys::{ClientKey, TimerKey};
use crate::lifecycle::stale_subscriptions;
use crate::routing::{fan_out, publication, redistribute, sending};
use crate::sessions::client::{Expiry, Stored};

/// Publishes the wills of all clients, connected or not, because a broker without a store shuts down.
pub(crate) fn publish_all_wills(broker: &mut Broker, now: Instant) {
    let keys: Vec<_> = broker.sessions.by_identifier.values().copied().collect();
    for key in keys {
        let client = broker.sessions.clients.get_mut(key);
        if let Some(will) = client.and_then(|client| client.will.take()) {
            publication::publish_will(broker, now, key, &will);
        }
    }
}

/// Starts the Session Expiry Interval and the Will Delay Interval after a connection has ended. Intervals of zero end
/// immediately.
pub(crate) fn handle_disconnected(broker: &mut Broker, now: Instant, key: ClientKey) {
    let Some(client) = broker.sessions.known_mut(key) else {
        return;
    };
    // Both intervals begin with the end of the connection (MQTT 5.0, 3.1.2.11.2 and 3.1.3.2.2).
    client.session_ends = match client.expiry {
        Expiry::WithConnection => Some(now),
        Expiry::After(time) => Some(now + time),
        Expiry::Never => None,
    };
    client.will_due = client.will.as_ref().map(|will| {
        let delay = will.will_delay_interval.unwrap_or(0);
        now + std::time::Duration::from_secs(delay.into())
    });
    record::note_client(
        &mut broker.connections,
        &broker.sessions,
        &mut broker.durability,
        key,
    );
    handle_client_timeout(broker, now, key);
}

/// Publishes the will and ends the session if they are due, and schedules the next deadline of the client otherwise. If
/// the will makes mutations and too many mutations wait for a commit, the client is deferred instead.
pub(crate) fn handle_client_timeout(broker: &mut Broker, now: Instant, key: ClientKey) {
    let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
    let client = broker.sessions.clients.get(key);
    let has_will_to_publish = client.is_some_and(|client| {
        client.will_due.is_some() && (is_due(client.will_due) || is_due(client.session_ends))
    });
    if !(has_will_to_publish && defer(broker, key)) {
        end_times(broker, now, key);
    }
}

/// Publishes the will and ends the session if they are due, without deferring the client. CONNECT calls this directly,
/// because the new connection cannot wait for a deferred will.
pub(crate) fn end_times(broker: &mut Broker, now: Instant, key: ClientKey) {
    let Some(client) = broker.sessions.clients.get_mut(key) else {
        return; // the client was deferred, and its session has ended meanwhile
    };
    let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
    let session_has_ended = is_due(client.session_ends);
    let has_expired = client.expiry != Expiry::WithConnection;
    if is_due(client.will_due) || session_has_ended && client.will_due.is_some() {
        client.will_due = None;
        if let Some(will) = client.will.take() {
            publication::publish_will(broker, now, key, &will); // [MQTT-3.1.2-8, MQTT-3.1.3-9]
            record::note_client(
                &mut broker.connections,
                &broker.sessions,
                &mut broker.durability,
                key,
            );
        }
    }
    // The client is removed after its will is published, because `publish_will` checks the permissions of the client.
    if session_has_ended {
        broker.stats.counters.expired += u64::from(has_expired);
        remove_client(broker, now, key);
        return;
    }
    let mut resumes = false;
    if let Some(client) = broker.sessions.clients.get_mut(key) {
        resumes = client.resumes.take().is_some();
        let deadline = client.deadline();
        broker
            .flow
            .timers
            .schedule(TimerKey::Client(key), deadline, &mut client.scheduled);
    }
    if resumes {
        sending::send_queue(broker, now, key);
    }
}

/// Ends a session: removes the client, its subscriptions and its queue. Messages of shared subscriptions are delivered
/// to other members of the shares.
fn remove_client(broker: &mut Broker, now: Instant, key: ClientKey) {
    if let Some(mut client) = broker.sessions.clients.remove(key) {
        broker
            .flow
            .timers
            .cancel(TimerKey::Client(key), client.scheduled);
        broker.sessions.by_identifier.remove(&client.identifier);
        broker
            .stats
            .counters
            .count_queue(client.queue.totals(), (0, 0));
        // Subscriptions that exceed the work budget stay in the topic tree for now. They match nobody, because the
        // client is not in the table any more.
        stale_subscriptions::remove_subscriptions(
            &mut broker.topics,
            &mut broker.flow,
            &mut broker.stats,
            key,
            &mut client,
        );
        if client.stored > Stored::Nothing {
            broker
                .durability
                .note_client_removed(Arc::clone(&client.identifier));
        }
        redistribute::redistribute(broker, now, client);
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
    // A will with QoS 0 and without RETAIN makes no mutations, except with `upgrade_outgoing_qos`, and need not wait.
    let makes_mutations =
        will.is_some_and(|will| will.qos > QoS::AtMostOnce || will.message.retain);
    let is_deferred = makes_mutations
        && fan_out::is_will_deferred(&broker.durability, &mut broker.flow, &broker.resources);
    if is_deferred {
        broker.flow.background.deferred.insert(key);
    }
    is_deferred
}
