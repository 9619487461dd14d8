//! Delivers a publication that has more subscribers than one call may deliver to. The broker matches the topic once,
//! delivers the message in slices, one slice per turn, and acknowledges the message after the last slice. A publication
//! with fewer subscribers is delivered immediately, in `router.rs`.
//!
//! Only one publication is delivered in slices at a time, because each needs a list of its subscribers, which may be
//! long. The other publications wait in their order, without such a list. All mutations of a publication, including
//! that of the acknowledgement, are in one commit. If two commits shared them, a crash between the commits would
//! deliver a QoS 2 message twice to some subscribers: the publisher resends the message, because it was not
//! acknowledged.

use std::sync::Arc;
use std::time::Instant;

use crate::broker::Broker;
use crate::durability::state::Durability;
use crate::flow::fan_outs::{FanOut, Publication};
use crate::flow::state::Flow;
use crate::flow::throttle::Pressure;
use crate::resources::Resources;
use crate::routing::routed::Routed;
use crate::routing::{retain, router};
use crate::topics::targets::Targets;

/// Begins to deliver a publication in slices, or adds it to the publications that wait. `targets` are the subscribers
/// at this time; they are dropped if the publication has to wait, and collected again when it begins.
pub(crate) fn fan_out(
    broker: &mut Broker,
    now: Instant,
    publication: Publication,
    targets: Targets,
) {
    if let Some(origin) = publication.origin {
        if let Some(connection) = broker.connections.get_mut(origin.connection) {
            connection.is_publishing = true;
        }
    } else {
        // A topic below `$SYS` may be published faster than its slices are delivered. The newer value replaces the
        // older one that still waits, so that these publications do not accumulate.
        let topic_name = &publication.message.topic_name;
        let is_older = |other: &Publication| {
            other.origin.is_none()
                && other.source.is_none()
                && other.message.topic_name == *topic_name
        };
        if publication.source.is_none() {
            broker
                .flow
                .fan_outs
                .waiting
                .retain(|other| !is_older(other));
        }
    }
    // Collecting the subscribers was a large piece of work, so the connection handles no further packet in this turn.
    broker.flow.work.exhaust();
    // A will may overtake the publications that wait, because it must not wait itself.
    let may_begin = broker.flow.fan_outs.current.is_none()
        && (publication.is_will || broker.flow.fan_outs.waiting.is_empty())
        && may_begin(
            &broker.durability,
            &mut broker.flow,
            &broker.resources,
            &publication,
        );
    if may_begin {
        begin_fan_out(broker, now, publication, Some(targets))
    } else {
        broker.flow.fan_outs.waiting.push_back(publication)
    }
}

/// Returns `true` while the current publication is incomplete and may make mutations. All mutations of a publication
/// must be in one commit, so the broker returns no mutations to its caller until the publication is complete.
pub(crate) fn holds_mutations(durability: &Durability, flow: &Flow, resources: &Resources) -> bool {
    let current = flow.fan_outs.current.as_ref();
    durability.mutations.is_some()
        && current.is_some_and(|current| {
            let publication = &current.publication;
            publication.may_mutate(resources.limits.upgrade_qos)
        })
}

/// Returns `true` if `advance_fan_outs` can deliver a slice now.
pub(crate) fn has_fan_out_to_advance(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> bool {
    flow.is_fanning_out() || first_to_begin(durability, flow, resources).is_some()
}

/// Retains the message if RETAIN is set, and makes it the current publication. `targets` is `None` for a publication
/// that has waited: its subscribers are collected now.
pub(crate) fn begin_fan_out(
    broker: &mut Broker,
    now: Instant,
    publication: Publication,
    targets: Option<Targets>,
) {
    let mutations_before = broker.durability.mutation_count();
    let message = Arc::clone(&publication.message);
    let mut routed = Routed::from_message(&message, publication.delivery, publication.expires, now);
    // A client that subscribes during the delivery is not among the subscribers, but gets the retained message.
    if message.retain {
        retain::retain(broker, now, &mut routed, publication.source.clone());
    }
    let collect = || router::collect_targets(broker, &routed.publish, publication.from);
    let targets = targets.unwrap_or_else(collect);
    broker.flow.fan_outs.current = Some(FanOut {
        publication,
        targets,
        mutations_before,
    });
}

/// Returns the index of the first publication that may begin now. While publications that make mutations must wait for
/// a commit, publications without mutations may overtake them.
pub(crate) fn first_to_begin(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> Option<usize> {
    if flow.fan_outs.waiting.is_empty() {
        return None;
    }
    // Computed once: the pressure is the same for all publications.
    let may_mutate = may_mutate_now(durability, flow, resources);
    let upgrade_qos = resources.limits.upgrade_qos;
    let mut waiting = flow.fan_outs.waiting.iter();
    waiting.position(|publication| may_mutate || !publication.may_mutate(upgrade_qos))
}

/// Returns `true` if this publication may begin now.
fn may_begin(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
    publication: &Publication,
) -> bool {
    !publication.may_mutate(resources.limits.upgrade_qos)
        || may_mutate_now(durability, flow, resources)
}

/// Returns `true` if a publication that makes mutations may begin now. The backlog must be below the soft limit,
/// because the publication cannot be throttled later: the commit that would reduce the backlog waits for the end of the
/// publication. While the broker lacks storage, the publication may begin in any case. A message of QoS 1 or 2 from a
/// client is then rejected, instead of waiting until the disk has room.
pub(crate) fn may_mutate_now(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> bool {
    durability.mutations.is_none()
        || !flow.fan_outs.is_sealed
            && (resources.is_storage_exhausted()
                || flow.throttle.pressure(durability, resources) == Pressure::None)
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
        && (flow.is_fanning_out() || !may_mutate_now(durability, flow, resources))
}
