//! Publications to more subscribers than one call may deliver to: they are matched once and delivered in slices, turn
//! by turn, and acknowledged after the last slice. Smaller ones are delivered immediately, in `router.rs`.
//!
//! A single fan-out is in progress at a time, because its list of subscribers may be long; the others wait in order, as
//! messages only. The mutations of a fan-out are released for a commit together, with that of the publisher's
//! acknowledgement. A commit of a part would give the subscribers in it a QoS 2 message twice after a crash, since the
//! publisher, which was not acknowledged, sends it again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Delivery, Message, PublishRef, QoS, ReasonCode};

use crate::auth::policy::Principal;
use crate::broker::Broker;
use crate::connection::{ConnectionId, Connections};
use crate::durability::mutation::Mutation;
use crate::durability::{Durability, mutation};
use crate::flow::throttle::Pressure;
use crate::flow::{Flow, background, throttle};
use crate::packets::{close, input, publish};
use crate::resources::Resources;
use crate::routing::router::{Routed, Targets};
use crate::routing::{delivery, retain, router};
use crate::sessions::client::ClientKey;

/// Publications without a connection that may wait beside those with one.
const MAXIMUM_WITHOUT_CONNECTION: usize = 1000;

/// The publications that are delivered in slices.
#[derive(Debug, Default)]
pub(crate) struct FanOuts {
    pub(crate) current: Option<FanOut>,
    waiting: VecDeque<Publication>,
    /// Set when a fan-out has ended whose mutations were not taken for a commit yet. The next one must not begin
    /// before, or there would always be one in progress, and never a commit.
    pub(crate) is_sealed: bool,
}

/// A message with the data that a later delivery needs.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) message: Arc<Message>,
    pub(crate) delivery: Delivery,
    pub(crate) expires: Option<Instant>,
    /// The publisher, which must not get the message if its subscription has No Local set.
    pub(crate) from: Option<ClientKey>,
    /// The author of the retained message.
    pub(crate) source: Option<Arc<Principal>>,
    /// The connection that waits for the end of this publication.
    pub(crate) origin: Option<Origin>,
    /// Set for a will. A will must not wait here: its removal from the store is recorded in the same turn, and a crash
    /// between that commit and the delivery would lose the will.
    pub(crate) is_will: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) connection: ConnectionId,
    pub(crate) client: ClientKey,
}

/// A publication that is being delivered.
#[derive(Debug)]
pub(crate) struct FanOut {
    publication: Publication,
    targets: Targets,
    /// The number of mutations before the first of this publication.
    mutations_before: usize,
}

impl FanOuts {
    /// Returns `true` if a publication is delivered in slices, or waits for that.
    pub(crate) fn has_any(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }
}

impl Publication {
    fn publish(&self) -> PublishRef<'_> {
        self.message.publish(self.delivery)
    }

    /// Returns `true` if the delivery may add mutations, because of the QoS, RETAIN, or the QoS of the subscriptions.
    fn may_mutate(&self, upgrade_qos: bool) -> bool {
        self.delivery.qos() > QoS::AtMostOnce || self.message.retain || upgrade_qos
    }
}

/// Delivers a publication in slices, after those that wait already.
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
        // A newer value that the broker itself publishes replaces an older one that still waits.
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
    broker.flow.work.exhaust();
    let may_begin = broker.flow.fan_outs.current.is_none()
        && (publication.is_will || broker.flow.fan_outs.waiting.is_empty())
        && may_begin(
            &broker.durability,
            &mut broker.flow,
            &broker.resources,
            &publication,
        );
    match may_begin {
        true => begin_fan_out(broker, now, publication, Some(targets)),
        false => broker.flow.fan_outs.waiting.push_back(publication),
    }
}

/// Delivers slices until the budget of this call is spent.
pub(crate) fn advance_fan_outs(broker: &mut Broker, now: Instant) {
    while !broker.flow.work.is_spent() {
        let Some(mut fan_out) = broker.flow.fan_outs.current.take() else {
            background::handle_deferred(broker, now);
            match broker.flow.fan_outs.current.is_some() || begin_next(broker, now) {
                true => continue,
                false => return,
            }
        };
        let publication = &fan_out.publication;
        let (message, expires) = (&publication.message, publication.expires);
        let mut routed = Routed::again(message, publication.delivery, expires, now);
        while !broker.flow.work.is_spent() {
            let Some(copy) =
                router::next_copy(&broker.resources, &mut fan_out.targets, &routed.publish)
            else {
                break;
            };
            delivery::deliver(broker, now, copy.0, &mut routed, copy.1);
        }
        match fan_out.targets.is_empty() {
            true => end_fan_out(broker, now, fan_out),
            false => broker.flow.fan_outs.current = Some(fan_out),
        }
    }
}

/// Does the work of [`Broker::holds_mutations`].
pub(crate) fn holds_mutations(durability: &Durability, flow: &Flow, resources: &Resources) -> bool {
    let current = flow.fan_outs.current.as_ref();
    durability.mutations.is_some()
        && current.is_some_and(|current| {
            let publication = &current.publication;
            publication.may_mutate(resources.limits.upgrade_qos)
        })
}

pub(crate) fn has_fan_out_to_advance(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> bool {
    flow.is_fanning_out() || first_to_begin(durability, flow, resources).is_some()
}

/// Returns `true` if a publication that the client sent on an earlier connection is not delivered yet. Later
/// publications of the client must not overtake that publication, and the next one may be the same publication, resent.
pub(crate) fn has_orphan_of(connections: &Connections, flow: &Flow, id: ConnectionId) -> bool {
    let FanOuts {
        current, waiting, ..
    } = &flow.fan_outs;
    let client = connections.get(id).and_then(|connection| connection.client);
    let is_orphan = |publication: &Publication| {
        let origin = publication.origin;
        origin.is_some_and(|origin| origin.connection != id && Some(origin.client) == client)
    };
    current
        .iter()
        .any(|current| is_orphan(&current.publication))
        || waiting.iter().any(is_orphan)
}

/// Drops a publication that has not begun and whose connection has ended, because its publisher resends it.
/// Publications of QoS 0 stay, since nobody resends them.
pub(crate) fn forget_unbegun(connections: &Connections, flow: &mut Flow, id: ConnectionId) {
    let is_full = flow.fan_outs.waiting.len() > connections.len() + MAXIMUM_WITHOUT_CONNECTION;
    flow.fan_outs.waiting.retain(|publication| {
        let is_of_it = publication
            .origin
            .is_some_and(|origin| origin.connection == id);
        // The publisher has received no acknowledgement, and resends the message.
        let is_unacknowledged = publication.delivery.qos() > QoS::AtMostOnce;
        !(is_of_it && (is_unacknowledged || is_full))
    });
}

fn begin_fan_out(
    broker: &mut Broker,
    now: Instant,
    publication: Publication,
    targets: Option<Targets>,
) {
    let mutations_before = broker.durability.mutation_count();
    let message = Arc::clone(&publication.message);
    let mut routed = Routed::again(&message, publication.delivery, publication.expires, now);
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

/// Begins the first publication that may begin now; returns `false` if no publication may begin.
fn begin_next(broker: &mut Broker, now: Instant) -> bool {
    let Some(index) = first_to_begin(&broker.durability, &mut broker.flow, &broker.resources)
    else {
        return false;
    };
    let Some(publication) = broker.flow.fan_outs.waiting.remove(index) else {
        return false;
    };
    broker.flow.work.spend(1);
    // The disk may have become full since the message came.
    if retain::lacks_room(&broker.topics, &broker.resources, &publication.publish()) {
        let before = broker.durability.mutation_count();
        answer_publication(broker, now, &publication, ReasonCode::QuotaExceeded, before);
        return true;
    }
    begin_fan_out(broker, now, publication, None);
    true
}

fn first_to_begin(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> Option<usize> {
    if flow.fan_outs.waiting.is_empty() {
        return None;
    }
    let may_mutate = may_mutate_now(durability, flow, resources);
    let upgrade_qos = resources.limits.upgrade_qos;
    let mut waiting = flow.fan_outs.waiting.iter();
    waiting.position(|publication| may_mutate || !publication.may_mutate(upgrade_qos))
}

fn may_begin(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
    publication: &Publication,
) -> bool {
    !publication.may_mutate(resources.limits.upgrade_qos)
        || may_mutate_now(durability, flow, resources)
}

/// Returns `true` if a publication may begin that makes mutations. After its begin it must not wait for room any more:
/// the commit that would make room waits for the end of the publication.
pub(crate) fn may_mutate_now(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> bool {
    durability.mutations.is_none()
        || !flow.fan_outs.is_sealed
            && (resources.lacks_storage()
                || throttle::pressure(durability, flow, resources) == Pressure::None)
}

fn end_fan_out(broker: &mut Broker, now: Instant, fan_out: FanOut) {
    let FanOut {
        publication,
        targets,
        mutations_before,
    } = fan_out;
    broker.flow.fan_outs.is_sealed = broker.durability.mutations.is_some()
        && publication.may_mutate(broker.resources.limits.upgrade_qos);
    let reason_code = match targets.had_any() {
        true => ReasonCode::Success,
        false => ReasonCode::NoMatchingSubscribers,
    };
    answer_publication(broker, now, &publication, reason_code, mutations_before);
}

/// Acknowledges a publication to its connection, or notes in the session that it need not be sent again.
fn answer_publication(
    broker: &mut Broker,
    now: Instant,
    publication: &Publication,
    reason_code: ReasonCode,
    mutations_before: usize,
) {
    let Some(Origin {
        connection: id,
        client,
    }) = publication.origin
    else {
        return;
    };
    let made_mutations = broker.durability.mutation_count() > mutations_before;
    let connection = broker.connections.get_mut(id);
    if let Some(connection) = connection.filter(|connection| connection.client == Some(client)) {
        connection.is_publishing = false;
        match publication.delivery.packet_identifier() {
            Some(_) if reason_code.is_error() && !broker.connections.can_be_told(id) => {
                close::end_connection(broker, now, id, reason_code);
            }
            Some(packet_identifier) => {
                publish::acknowledge(
                    &mut broker.connections,
                    &mut broker.durability,
                    now,
                    id,
                    packet_identifier,
                    reason_code,
                    made_mutations,
                );
            }
            None => {}
        }
        let before = mutations_before.min(broker.durability.mutation_count());
        input::settle(broker, id);
        throttle::note_mutations_of(
            &mut broker.connections,
            &broker.durability,
            &broker.flow,
            id,
            before,
        );
        return throttle::resume(&mut broker.connections, &mut broker.flow, id);
    }
    if !reason_code.is_error() {
        accept_message(broker, client, publication.delivery);
    }
    if let Some(id) = broker
        .sessions
        .clients
        .get(client)
        .and_then(|client| client.connection)
    {
        throttle::resume(&mut broker.connections, &mut broker.flow, id);
    }
}

/// Notes that a message of an earlier connection of this client was accepted. If the client resends this message of
/// QoS 2, it is a duplicate.
fn accept_message(broker: &mut Broker, key: ClientKey, delivery: Delivery) {
    let Some(client) = broker.sessions.clients.get_mut(key) else {
        return; // the session has ended while its publication waited
    };
    if let Some(id) = client.connection {
        if let Some(connection) = broker.connections.get_mut(id) {
            connection.protocol.accept_message(delivery);
        }
        return input::settle(broker, id);
    }
    if let Some(session) = &mut client.session {
        session.accept_message(delivery);
    }
    if let Delivery::ExactlyOnce {
        packet_identifier, ..
    } = delivery
    {
        mutation::note(
            &mut broker.connections,
            &broker.sessions,
            &mut broker.durability,
            key,
            |client| Mutation::Held {
                client: Arc::clone(&client.identifier),
                packet_identifier,
            },
        );
    }
}
