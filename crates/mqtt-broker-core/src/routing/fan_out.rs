//! Delivers a publication that has more subscribers than one call may deliver to. The broker matches the topic once,
//! delivers the message in slices, one slice per turn, and acknowledges the message after the last slice. A publication
//! with fewer subscribers is delivered immediately, in `router.rs`.
//!
//! Only one publication is delivered in slices at a time, because each needs a list of its subscribers, which may be
//! long. The other publications wait in their order, without such a list. All mutations of a publication, including
//! that of the acknowledgement, are in one commit. If two commits shared them, a crash between the commits would
//! deliver a QoS 2 message twice to some subscribers: the publisher resends the message, because it was not
//! acknowledged.

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

/// Maximum number of waiting publications that exceed one for each connection. A connection waits for its publication,
/// so only publications of the broker itself and of ended connections exceed that number.
const MAXIMUM_WITHOUT_CONNECTION: usize = 1000;

/// The publications that are delivered in slices.
#[derive(Debug, Default)]
pub(crate) struct FanOuts {
    /// The publication that is being delivered in slices.
    pub(crate) current: Option<FanOut>,
    /// The publications that wait for `current`, in the order in which they were published.
    waiting: VecDeque<Publication>,
    /// Set when a publication has ended, until `take_mutations` returns its mutations. Until then no publication that
    /// makes mutations may begin: with one always in progress, there would never be a commit.
    pub(crate) is_sealed: bool,
}

/// A message with the data that its delivery needs in a later turn.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) message: Arc<Message>,
    /// The QoS and the packet identifier of the PUBLISH.
    pub(crate) delivery: Delivery,
    pub(crate) expires: Option<Instant>,
    /// The publisher, which must not receive the message through a subscription with No Local.
    pub(crate) from: Option<ClientKey>,
    /// The publisher that is stored with the retained message, for `check_retain_source`.
    pub(crate) source: Option<Arc<Principal>>,
    /// The connection that waits for the acknowledgement. `None` for wills and messages of the broker itself.
    pub(crate) origin: Option<Origin>,
    /// Set for a will. A will must not wait in `FanOuts::waiting`: the mutation that removes the will from the store is
    /// made in the same turn, and a crash between its commit and the delivery would lose the will.
    pub(crate) is_will: bool,
}

/// The connection that has sent a publication, and its client. The client may reconnect during the delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) connection: ConnectionId,
    pub(crate) client: ClientKey,
}

/// The publication that is being delivered, and the subscribers that are left.
#[derive(Debug)]
pub(crate) struct FanOut {
    publication: Publication,
    targets: Targets,
    /// The number of mutations when the publication began. Later mutations may be those of this publication.
    mutations_before: usize,
}

impl FanOuts {
    /// Returns `true` if a publication is being delivered in slices or waits for its turn.
    pub(crate) fn has_any(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }
}

impl Publication {
    fn publish(&self) -> PublishRef<'_> {
        self.message.publish(self.delivery)
    }

    /// Returns `true` if the delivery may make mutations: the message has QoS 1 or 2 or RETAIN set, or
    /// `upgrade_outgoing_qos` may raise its QoS to that of a subscription.
    fn may_mutate(&self, upgrade_qos: bool) -> bool {
        self.delivery.qos() > QoS::AtMostOnce || self.message.retain || upgrade_qos
    }
}

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

/// Delivers slices, and begins the publications that wait, until the budget of this call is spent.
pub(crate) fn advance_fan_outs(broker: &mut Broker, now: Instant) {
    while !broker.flow.work.is_spent() {
        let Some(mut fan_out) = broker.flow.fan_outs.current.take() else {
            // A deferred will cannot begin while a publication is in progress. It comes before the waiting
            // publications, which could otherwise follow each other without end.
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

/// Returns `true` if `advance_fan_outs` can deliver a slice now.
pub(crate) fn has_fan_out_to_advance(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> bool {
    flow.is_fanning_out() || first_to_begin(durability, flow, resources).is_some()
}

/// Returns `true` if a publication that the client sent on an earlier connection is not completely delivered yet. The
/// next PUBLISH of the client must wait for it: it must not overtake the earlier publication, and it may be the same
/// message, resent.
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

/// Drops the waiting publications of a connection that has ended, if they have QoS 1 or 2: the publisher resends them.
/// Publications of QoS 0 stay, because the publisher does not resend them, unless too many wait.
pub(crate) fn forget_unbegun(connections: &Connections, flow: &mut Flow, id: ConnectionId) {
    let is_full = flow.fan_outs.waiting.len() > connections.len() + MAXIMUM_WITHOUT_CONNECTION;
    flow.fan_outs.waiting.retain(|publication| {
        let is_of_it = publication
            .origin
            .is_some_and(|origin| origin.connection == id);
        // Every publication that waits is unacknowledged, so the publisher resends it.
        let is_unacknowledged = publication.delivery.qos() > QoS::AtMostOnce;
        !(is_of_it && (is_unacknowledged || is_full))
    });
}

/// Retains the message if RETAIN is set, and makes it the current publication. `targets` is `None` for a publication
/// that has waited: its subscribers are collected now.
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

/// Begins the first publication that may begin now. Returns `false` if no publication may begin.
fn begin_next(broker: &mut Broker, now: Instant) -> bool {
    let Some(index) = first_to_begin(&broker.durability, &mut broker.flow, &broker.resources)
    else {
        return false;
    };
    let Some(publication) = broker.flow.fan_outs.waiting.remove(index) else {
        return false;
    };
    broker.flow.work.spend(1);
    // The disk may have become full since the broker received the message.
    if retain::lacks_room(&broker.topics, &broker.resources, &publication.publish()) {
        let before = broker.durability.mutation_count();
        answer_publication(broker, now, &publication, ReasonCode::QuotaExceeded, before);
        return true;
    }
    begin_fan_out(broker, now, publication, None);
    true
}

/// Returns the index of the first publication that may begin now. While the store is behind, publications that make no
/// mutations may overtake the others.
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

/// Returns `true` if a publication that makes mutations may begin now. It may begin only while the backlog is below the
/// soft limit, because it cannot be throttled later: the commit that would reduce the backlog waits for the end of the
/// publication. While the broker lacks storage, it may begin in any case, so that it does not wait as long as the disk
/// is full: messages of QoS 1 and 2 are rejected then.
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

/// Ends the current publication after its last slice, and acknowledges its message.
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

/// Acknowledges a publication. If the publisher's connection has ended meanwhile, records the message in its session,
/// so that the resent message is recognised as a duplicate.
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

/// Records in the session that the broker has accepted a message of an earlier connection. If the client resends a
/// message of QoS 2, the broker recognises the duplicate by its packet identifier.
fn accept_message(broker: &mut Broker, key: ClientKey, delivery: Delivery) {
    let Some(client) = broker.sessions.clients.get_mut(key) else {
        return; // the session has ended while the publication was delivered
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
