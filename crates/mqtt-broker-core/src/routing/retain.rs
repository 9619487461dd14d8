//! Stores and removes retained messages. A PUBLISH with RETAIN set stores its message if the limits permit, and removes
//! the message of its topic if the payload is empty. Expired messages are removed at an interval. The messages for new
//! subscriptions are sent elsewhere, in `sending.rs`.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{PublishRef, QoS, TopicName};
use mqtt_session::Excerpt;

use crate::auth::policy::Principal;
use crate::broker::Broker;
use crate::durability::state::Durability;
use crate::flow::state::Flow;
use crate::keys::TimerKey;
use crate::log_lines::limiter::LogEvent;
use crate::log_lines::targets::EVENTS;
use crate::resources::Resources;
use crate::routing::routed::Routed;
use crate::stats::drops::DropReason;
use crate::topics::retained::{self, Retained};
use crate::topics::state::Topics;

/// Maximum number of expired retained messages that one call removes.
const MAXIMUM_SWEPT: usize = 1000;

/// Drops a message of QoS 0 if the broker has reached `memory_limit`. If the message has RETAIN set, also removes the
/// retained message of its topic. Returns `true` if the message is dropped.
pub(crate) fn drop_without_memory(
    broker: &mut Broker,
    topic_name: &str,
    is_retained: bool,
) -> bool {
    if !broker.resources.is_memory_exhausted() {
        return false;
    }
    broker.stats.counters.drops.count(DropReason::MemoryLimit);
    if is_retained {
        // A message of QoS 0 with RETAIN must discard the message that was retained before [MQTT-3.3.1-7] of 3.1.1.
        remove_retained(&mut broker.topics, &mut broker.durability, topic_name);
    }
    true
}

/// Stores the message as the retained message of its topic, or removes the retained message if the payload is empty
/// [MQTT-3.3.1-6]. If the broker has no room for the message, the older retained message is removed too, because it
/// would be outdated ([MQTT-3.3.1-7] of 3.1.1).
pub(crate) fn retain(
    broker: &mut Broker,
    now: Instant,
    routed: &mut Routed<'_>,
    source: Option<Arc<Principal>>,
) {
    let publish = &routed.publish;
    if publish.payload.is_empty() {
        return remove_retained(
            &mut broker.topics,
            &mut broker.durability,
            publish.topic_name,
        );
    }
    let size = retained::footprint_of_retained(publish);
    if broker.resources.is_storage_exhausted()
        || broker.resources.is_memory_exhausted()
        || !broker
            .topics
            .retained
            .has_room(publish.topic_name, size, &broker.resources.limits)
    {
        if broker
            .stats
            .log_limiter
            .admits(now, LogEvent::NotRetained, "")
        {
            let topic_name = Excerpt(publish.topic_name);
            log::warn!(target: EVENTS, "A message to '{topic_name}' is not retained: the memory, the store or the retained messages have reached their limit.");
        }
        return remove_retained(
            &mut broker.topics,
            &mut broker.durability,
            publish.topic_name,
        );
    }
    let Some(message) = routed.owned() else {
        return; // a message without a topic name is never routed
    };
    let mut retained = Retained {
        message,
        qos: routed.publish.delivery.qos(),
        expires: routed.expires,
        source,
        version: 0,
    };
    // The timer runs only while a retained message can expire.
    if retained.expires.is_some() {
        await_sweep(&mut broker.topics, &mut broker.flow, &broker.resources, now);
    }
    retained.version = broker.topics.retained.store(retained.clone());
    broker
        .durability
        .note_retained(retained.message.topic_name.clone(), Some(retained));
}

/// Removes the retained message of a topic, if there is one. While the disk is full, the mutation waits. The broker
/// retains nothing meanwhile, so at most one such mutation for each topic waits.
pub(crate) fn remove_retained(topics: &mut Topics, durability: &mut Durability, topic_name: &str) {
    if topics.retained.remove(topic_name) {
        if let Ok(topic_name) = TopicName::new(topic_name) {
            durability.note_retained(topic_name, None);
        }
    }
}

/// Schedules the next removal of expired retained messages, unless one is scheduled or `retain_expiry_interval` is
/// zero.
pub(crate) fn await_sweep(
    topics: &mut Topics,
    flow: &mut Flow,
    resources: &Resources,
    now: Instant,
) {
    let interval = resources.limits.retained_sweep;
    let due = (!interval.is_zero()).then(|| now + interval);
    let scheduled = &mut topics.retained.sweep_due;
    flow.timers.schedule(TimerKey::Retained, due, scheduled);
}

/// Removes expired retained messages, which take memory although no client receives them.
pub(crate) fn sweep_retained(broker: &mut Broker, now: Instant) {
    broker.topics.retained.sweep_due = None;
    for _ in 0..MAXIMUM_SWEPT {
        let Some(topic_name) = broker.topics.retained.remove_expired(now) else {
            if broker.topics.retained.will_expire() {
                await_sweep(&mut broker.topics, &mut broker.flow, &broker.resources, now);
            }
            return;
        };
        broker.durability.note_retained(topic_name, None);
    }
    // More messages have expired than one call may remove, so the timer is due again immediately.
    let scheduled = &mut broker.topics.retained.sweep_due;
    broker
        .flow
        .timers
        .schedule(TimerKey::Retained, Some(now), scheduled);
}

/// Returns `true` if the broker cannot accept this message of QoS 1 or 2, because storage, memory or the retained
/// messages have reached their limit. Returns `false` for messages of QoS 0: `drop_without_memory` and `retain` check
/// the limits for them.
pub(crate) fn exceeds_quota(
    topics: &Topics,
    resources: &Resources,
    publish: &PublishRef<'_>,
) -> bool {
    // An empty payload removes the retained message, which needs no room.
    let is_kept = publish.retain && !publish.payload.is_empty();
    publish.delivery.qos() > QoS::AtMostOnce
        && (resources.is_storage_exhausted()
            || resources.is_memory_exhausted()
            || is_kept && {
                let size = retained::footprint_of_retained(publish);
                let limits = &resources.limits;
                !topics.retained.has_room(publish.topic_name, size, limits)
            })
}
