//! Publications to more subscribers than one call may deliver to: they are matched once and delivered in slices, turn by
//! turn, and acknowledged after the last slice. Smaller ones are delivered at once, in `router.rs`.
//!
//! A single fan-out is in progress at a time, because its list of subscribers may be long; the others wait in order, as
//! messages only. The mutations of a fan-out are released for a commit together, with that of the publisher's
//! acknowledgement. A commit of a part would give the subscribers in it a QoS 2 message twice after a crash, since the
//! publisher, which was not acknowledged, sends it again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Delivery, Message, PublishRef, QoS, ReasonCode};

use crate::Principal;
use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::durability::mutation::Mutation;
use crate::flow::throttle::Pressure;
use crate::routing::router::{Routed, Targets};
use crate::sessions::client::ClientKey;

/// Publications without a connection that may wait beside those with one.
const MAXIMUM_WITHOUT_CONNECTION: usize = 1000;

/// The publications that are delivered in slices.
#[derive(Debug, Default)]
pub(crate) struct FanOuts {
    current: Option<FanOut>,
    waiting: VecDeque<Publication>,
    /// Set when a fan-out has ended whose mutations were not taken for a commit yet. The next one must not begin before,
    /// or there would always be one in progress, and never a commit.
    is_sealed: bool,
}

/// A message with all that is needed to deliver it later.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) message: Arc<Message>,
    pub(crate) delivery: Delivery,
    pub(crate) expires: Option<Instant>,
    /// The client that must not get it if its subscription says No Local.
    pub(crate) from: Option<ClientKey>,
    /// The author of the retained message.
    pub(crate) source: Option<Arc<Principal>>,
    /// The connection that waits for it.
    pub(crate) origin: Option<Origin>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) connection: ConnectionId,
    pub(crate) client: ClientKey,
}

/// A publication that is being delivered.
#[derive(Debug)]
struct FanOut {
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

    /// Returns `true` if its delivery may be recorded, by its QoS or that of the subscriptions.
    fn may_mutate(&self, upgrade_qos: bool) -> bool {
        self.delivery.qos() > QoS::AtMostOnce || self.message.retain || upgrade_qos
    }
}

impl Broker {
    /// Delivers a publication in slices, after those that wait already.
    pub(crate) fn fan_out(&mut self, now: Instant, publication: Publication, targets: Targets) {
        if let Some(origin) = publication.origin {
            if let Some(connection) = self.connections.get_mut(origin.connection) {
                connection.is_publishing = true;
            }
        } else {
            // The broker's own: a newer value takes the place of one that still waits.
            let topic_name = &publication.message.topic_name;
            let is_older = |other: &Publication| {
                other.origin.is_none()
                    && other.source.is_none()
                    && other.message.topic_name == *topic_name
            };
            if publication.source.is_none() {
                self.fan_outs.waiting.retain(|other| !is_older(other));
            }
        }
        self.work.exhaust();
        let may_begin = self.fan_outs.current.is_none()
            && self.fan_outs.waiting.is_empty()
            && self.may_begin(&publication);
        match may_begin {
            true => self.begin_fan_out(now, publication, Some(targets)),
            false => self.fan_outs.waiting.push_back(publication),
        }
    }

    /// Delivers slices until the budget of this call is spent.
    pub(crate) fn advance_fan_outs(&mut self, now: Instant) {
        while !self.work.is_spent() {
            let Some(mut fan_out) = self.fan_outs.current.take() else {
                self.handle_deferred(now);
                match self.fan_outs.current.is_some() || self.begin_next(now) {
                    true => continue,
                    false => return,
                }
            };
            let publication = &fan_out.publication;
            let (message, expires) = (&publication.message, publication.expires);
            let mut routed = Routed::again(message, publication.delivery, expires, now);
            while !self.work.is_spent() {
                let Some(copy) = self.next_copy(&mut fan_out.targets, &routed.publish) else {
                    break;
                };
                self.deliver(now, copy.0, &mut routed, copy.1);
            }
            match fan_out.targets.is_empty() {
                true => self.end_fan_out(now, fan_out),
                false => self.fan_outs.current = Some(fan_out),
            }
        }
    }

    /// Returns `true` if the mutations must not be taken now: they contain a part of a publication.
    pub fn holds_mutations(&self) -> bool {
        let current = self.fan_outs.current.as_ref();
        self.mutations.is_some()
            && current.is_some_and(|current| {
                let publication = &current.publication;
                publication.may_mutate(self.limits.upgrade_qos)
            })
    }

    /// The mutations of all publications that have ended are in the hands of the commit queue.
    pub(crate) fn release_fan_outs(&mut self) {
        self.fan_outs.is_sealed = false;
    }

    pub(crate) fn is_fanning_out(&self) -> bool {
        self.fan_outs.current.is_some()
    }

    pub(crate) fn has_fan_out_to_advance(&mut self) -> bool {
        self.is_fanning_out() || self.first_to_begin().is_some()
    }

    /// Returns `true` if a publication of the client is still to be delivered, which an earlier connection has brought.
    /// The next ones of the client must not overtake it, and it may be this one, sent again.
    pub(crate) fn has_orphan_of(&self, id: ConnectionId) -> bool {
        let FanOuts {
            current, waiting, ..
        } = &self.fan_outs;
        let client = self
            .connections
            .get(id)
            .and_then(|connection| connection.client);
        let is_orphan = |publication: &Publication| {
            let origin = publication.origin;
            origin.is_some_and(|origin| origin.connection != id && Some(origin.client) == client)
        };
        current
            .iter()
            .any(|current| is_orphan(&current.publication))
            || waiting.iter().any(is_orphan)
    }

    /// A connection is gone. Its publication is delivered, once it has begun or if nobody would send it again.
    pub(crate) fn forget_unbegun(&mut self, id: ConnectionId) {
        let is_full =
            self.fan_outs.waiting.len() > self.connections.len() + MAXIMUM_WITHOUT_CONNECTION;
        self.fan_outs.waiting.retain(|publication| {
            let is_of_it = publication
                .origin
                .is_some_and(|origin| origin.connection == id);
            // The publisher was not acknowledged, and sends the message again.
            let is_unacknowledged = publication.delivery.qos() > QoS::AtMostOnce;
            !(is_of_it && (is_unacknowledged || is_full))
        });
    }

    fn begin_fan_out(&mut self, now: Instant, publication: Publication, targets: Option<Targets>) {
        let mutations_before = self.mutation_count();
        let message = Arc::clone(&publication.message);
        let mut routed = Routed::again(&message, publication.delivery, publication.expires, now);
        if message.retain {
            self.retain(now, &mut routed, publication.source.clone());
        }
        let collect = || self.collect_targets(&routed.publish, publication.from);
        let targets = targets.unwrap_or_else(collect);
        self.fan_outs.current = Some(FanOut {
            publication,
            targets,
            mutations_before,
        });
    }

    /// Begins the first publication that may begin now; returns `false` if there is none.
    fn begin_next(&mut self, now: Instant) -> bool {
        let Some(index) = self.first_to_begin() else {
            return false;
        };
        let Some(publication) = self.fan_outs.waiting.remove(index) else {
            return false;
        };
        self.work.spend(1);
        // The disk may have become full since the message came.
        if self.lacks_room(&publication.publish()) {
            let before = self.mutation_count();
            self.answer_publication(now, &publication, ReasonCode::QuotaExceeded, before);
            return true;
        }
        self.begin_fan_out(now, publication, None);
        true
    }

    fn first_to_begin(&mut self) -> Option<usize> {
        if self.fan_outs.waiting.is_empty() {
            return None;
        }
        let may_mutate = self.may_mutate_now();
        let upgrade_qos = self.limits.upgrade_qos;
        let mut waiting = self.fan_outs.waiting.iter();
        waiting.position(|publication| may_mutate || !publication.may_mutate(upgrade_qos))
    }

    fn may_begin(&mut self, publication: &Publication) -> bool {
        !publication.may_mutate(self.limits.upgrade_qos) || self.may_mutate_now()
    }

    /// Returns `true` if a publication may begin that makes mutations. Once begun it makes them without a further wait: the
    /// commit that would give it room waits for its end.
    fn may_mutate_now(&mut self) -> bool {
        self.mutations.is_none()
            || !self.fan_outs.is_sealed
                && (self.lacks_storage() || self.pressure() == Pressure::None)
    }

    fn end_fan_out(&mut self, now: Instant, fan_out: FanOut) {
        let FanOut {
            publication,
            targets,
            mutations_before,
        } = fan_out;
        self.fan_outs.is_sealed =
            self.mutations.is_some() && publication.may_mutate(self.limits.upgrade_qos);
        let reason_code = match targets.had_any() {
            true => ReasonCode::Success,
            false => ReasonCode::NoMatchingSubscribers,
        };
        self.answer_publication(now, &publication, reason_code, mutations_before);
    }

    /// Acknowledges a publication to its connection, or notes in the session that it need not be sent again.
    fn answer_publication(
        &mut self,
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
        let made_mutations = self.mutation_count() > mutations_before;
        let connection = self.connections.get_mut(id);
        if let Some(connection) = connection.filter(|connection| connection.client == Some(client))
        {
            connection.is_publishing = false;
            match publication.delivery.packet_identifier() {
                Some(_) if reason_code.is_error() && !self.can_be_told(id) => {
                    self.end_connection(now, id, reason_code);
                }
                Some(packet_identifier) => {
                    self.acknowledge(now, id, packet_identifier, reason_code, made_mutations);
                }
                None => {}
            }
            let before = mutations_before.min(self.mutation_count());
            self.settle(id);
            self.note_mutations_of(id, before);
            return self.resume(id);
        }
        if !reason_code.is_error() {
            self.accept_message(client, publication.delivery);
        }
        if let Some(id) = self
            .clients
            .get(client)
            .and_then(|client| client.connection)
        {
            self.resume(id);
        }
    }
    /// Notes that a message of an earlier connection of this client was taken over. A QoS 2 message that is sent again is
    /// a duplicate from now on.
    fn accept_message(&mut self, key: ClientKey, delivery: Delivery) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let Some(id) = client.connection {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.protocol.accept_message(delivery);
            }
            return self.settle(id);
        }
        if let Some(session) = &mut client.session {
            session.accept_message(delivery);
        }
        if let Delivery::ExactlyOnce {
            packet_identifier, ..
        } = delivery
        {
            self.note(key, |client| Mutation::Held {
                client: Arc::clone(&client.identifier),
                packet_identifier,
            });
        }
    }
}
