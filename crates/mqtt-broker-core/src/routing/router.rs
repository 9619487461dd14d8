//! Finds the subscribers of a message, chooses the member of each shared subscription, and computes QoS, RETAIN and
//! subscription identifiers of each delivery. `publish.rs` decides if a message may be published, and `delivery.rs`
//! sends or queues the message for one client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::{
    Delivery, Message, MessageProperties, Property, PublishRef, QoS, SubscriptionIdentifiers,
    TopicFilter, TopicName,
};

use crate::auth::acl::AclAction;
use crate::broker::Broker;
use crate::connection::ConnectionState;
use crate::flow::work;
use crate::packets::publish;
use crate::resources::Resources;
use crate::routing::fan_out::Publication;
use crate::routing::{delivery, fan_out};
use crate::sessions::client::ClientKey;
use crate::topics::retained::Retained;
use crate::topics::subscriptions::{Chosen, MemberState, Share, Subscriber};

/// Message Expiry Interval in seconds of a line of the log that is published as a message. mosquitto uses the same.
const LOG_LINE_EXPIRY: u32 = 20;

/// A message that is being routed. `publish` borrows the bytes of the publisher. The owned form is made once, when the
/// message is first added to a queue or to the retained messages.
pub(crate) struct Routed<'a> {
    pub(crate) publish: PublishRef<'a>,
    pub(crate) expires: Option<Instant>,
    owned: Option<Arc<Message>>,
    /// The owned form without a mount point, for the last client that has one. The next client with the same mount
    /// point shares it.
    pub(crate) unmounted: Option<Arc<Message>>,
}

impl<'a> Routed<'a> {
    pub(crate) fn new(mut publish: PublishRef<'a>, now: Instant) -> Self {
        let interval = publish.properties.message_expiry_interval;
        // A message with interval 0 is delivered to connected subscribers with interval 1, like every message in its
        // last second.
        publish.properties.message_expiry_interval = interval.map(|seconds| seconds.max(1));
        let expires = interval.map(|seconds| now + Duration::from_secs(seconds.into()));
        Self {
            publish,
            expires,
            owned: None,
            unmounted: None,
        }
    }

    /// Returns a message whose owned form exists already, because the message has waited.
    pub(crate) fn again(
        message: &'a Arc<Message>,
        delivery: Delivery,
        expires: Option<Instant>,
        now: Instant,
    ) -> Self {
        Self {
            expires,
            owned: Some(Arc::clone(message)),
            ..Self::new(message.publish(delivery), now)
        }
    }

    /// Returns the owned form of the message. Returns `None` for a message without a topic name, which is never routed.
    pub(crate) fn owned(&mut self) -> Option<Arc<Message>> {
        if self.owned.is_none() {
            self.owned = self.publish.to_message().ok().map(Arc::new);
        }
        self.owned.clone()
    }
}

/// The subscriptions that match a message, and the position of the next delivery.
#[derive(Debug)]
pub(crate) struct Targets {
    /// The subscriptions that are not shared, sorted by client if several filters match.
    plain: Vec<Subscriber>,
    /// The chosen members of shared subscriptions. They are delivered to first, so that a chosen member is unlikely to
    /// disconnect before its delivery.
    shared: Vec<Chosen>,
    /// The index of the next subscription in `plain`.
    next: usize,
    /// The index of the next member in `shared`.
    next_shared: usize,
}

impl Targets {
    /// Returns `true` if at least one subscription matched.
    pub(crate) fn had_any(&self) -> bool {
        !self.plain.is_empty() || !self.shared.is_empty()
    }

    /// Returns `true` if no delivery is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.next >= self.plain.len() && self.next_shared >= self.shared.len()
    }

    /// Returns the number of deliveries. If `are_one`, all plain subscriptions of a client count as one delivery.

    fn count(&self, are_one: bool) -> usize {
        let is_same = |a: &Subscriber, b: &Subscriber| are_one && a.client == b.client;
        self.shared.len() + self.plain.chunk_by(is_same).count()
    }

    /// Returns the next member of a shared subscription, and advances past it.
    fn next_member(&mut self) -> Option<&Chosen> {
        let chosen = self.shared.get(self.next_shared);
        self.next_shared += usize::from(chosen.is_some());
        chosen
    }

    /// Returns the subscriptions of the next delivery, and advances past them. If `are_one`, these are all plain
    /// subscriptions of one client, otherwise a single subscription.
    fn next_client(&mut self, are_one: bool) -> Option<&[Subscriber]> {
        let rest = self.plain.get(self.next..)?;
        let first = rest.first()?;
        let is_same = |other: &&Subscriber| other.client == first.client;
        let count = match are_one {
            true => rest.iter().take_while(is_same).count(),
            false => 1,
        };
        self.next += count;
        rest.get(..count)
    }
}

/// The parts of a PUBLISH that differ between the subscribers of a message.
pub(crate) struct DeliveryOptions {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) subscription_identifiers: Vec<mqtt_codec::SubscriptionIdentifier>,
    /// The shared subscription through which the client receives the message, if it is one.
    pub(crate) share: Option<TopicFilter>,
}

/// Retains and routes a message of the broker itself. The retained message is not stored on disk, because the broker
/// publishes its own topics again after a restart.
pub(crate) fn publish_own(broker: &mut Broker, now: Instant, topic_name: &str, payload: &str) {
    let Ok(topic_name) = TopicName::new(topic_name) else {
        return;
    };
    let mut message = Message::new(topic_name, payload.to_owned());
    message.retain = true;
    let message = Arc::new(message);
    broker.topics.retained.store(Retained {
        message: Arc::clone(&message),
        qos: QoS::ExactlyOnce,
        expires: None,
        source: None,
        version: 0,
    });
    route_own(broker, now, &message, None);
}

/// Does the work of [`Broker::publish_log_line`].
pub(crate) fn publish_log_line(broker: &mut Broker, now: Instant, topic_name: &str, line: String) {
    let Ok(topic_name) = TopicName::new(topic_name) else {
        return;
    };
    let mut message = Message::new(topic_name, line);
    let expiry = Property::MessageExpiryInterval(LOG_LINE_EXPIRY);
    message.properties = MessageProperties::new([expiry]).ok().map(Box::new);
    let expires = now + Duration::from_secs(LOG_LINE_EXPIRY.into());
    route_own(broker, now, &Arc::new(message), Some(expires));
}

/// Delivers a message of the broker itself, in slices if it has many subscribers.
fn route_own(broker: &mut Broker, now: Instant, message: &Arc<Message>, expires: Option<Instant>) {
    // The packet identifier is a placeholder: only the QoS counts here.
    let first = mqtt_codec::PacketIdentifier::FIRST;
    let delivery = Delivery::first(QoS::ExactlyOnce, first);
    let mut routed = Routed::again(message, delivery, expires, now);
    let targets = collect_targets(broker, &routed.publish, None);
    if !is_large(&broker.resources, &targets, message.payload.len()) {
        deliver_all(broker, now, &mut routed, targets);
        return;
    }
    let publication = Publication {
        message: Arc::clone(message),
        delivery,
        expires,
        from: None,
        source: None,
        origin: None,
        is_will: false,
    };
    fan_out::fan_out(broker, now, publication, targets);
}

/// Delivers a message to all targets in this call. Returns `true` if at least one subscription matched.
pub(crate) fn deliver_all(
    broker: &mut Broker,
    now: Instant,
    routed: &mut Routed<'_>,
    targets: Targets,
) -> bool {
    let upgrade_qos = broker.resources.limits.upgrade_qos;
    for Chosen { member, share } in &targets.shared {
        let copy = DeliveryOptions::new(&[*member], &routed.publish, upgrade_qos);
        delivery::deliver(
            broker,
            now,
            member.client,
            routed,
            copy.of_share(share.clone()),
        );
    }
    let are_one = !broker.resources.limits.allow_duplicates;
    let is_same = |a: &Subscriber, b: &Subscriber| are_one && a.client == b.client;
    for of_client in targets.plain.chunk_by(is_same) {
        if let Some(first) = of_client.first() {
            let copy = DeliveryOptions::new(of_client, &routed.publish, upgrade_qos);
            delivery::deliver(broker, now, first.client, routed, copy);
        }
    }
    let had_any = targets.had_any();
    broker.topics.matched = targets.plain; // the next message uses the memory of the list again
    had_any
}

/// Returns the subscriptions that match the topic of `publish`. A subscription of `from`, the publisher, is left out if
/// it has No Local set [MQTT-3.8.3-3].
pub(crate) fn collect_targets(
    broker: &mut Broker,
    publish: &PublishRef<'_>,
    from: Option<ClientKey>,
) -> Targets {
    let mut plain = std::mem::take(&mut broker.topics.matched);
    plain.clear();
    let mut shared = Vec::new();
    let mut filters = 0;
    broker
        .topics
        .subscriptions
        .each_filter_matching(publish.topic_name, |subscribers| {
            filters += 1;
            subscribers.plain().for_each(|subscriber| {
                let is_own = Some(subscriber.client) == from;
                if !(subscriber.state.options.no_local && is_own) {
                    plain.push(subscriber);
                }
            });
            subscribers.shares().for_each(|(topic_filter, share)| {
                shared.extend(choose(broker, share, publish).map(|member| Chosen {
                    member,
                    share: topic_filter.clone(),
                }));
            });
        });
    broker
        .flow
        .work
        .spend((filters + plain.len() + shared.len()) / 2);
    if broker.flow.has_stale_subscriptions() {
        plain.retain(|subscriber| broker.sessions.clients.contains_key(subscriber.client));
    }
    // Subscriptions of the same client must be neighbours, because they are one delivery [MQTT-3.3.4-2, MQTT-3.3.4-3].
    // With a single filter, the list is sorted already. A shared subscription is always a delivery of its own.
    if filters > 1 {
        plain.sort_by_key(|subscriber| subscriber.client);
    }
    Targets {
        plain,
        shared,
        next: 0,
        next_shared: 0,
    }
}

/// Returns `true` if the deliveries are more work than one connection may cause in one turn, so that they must be made
/// in slices.
pub(crate) fn is_large(resources: &Resources, targets: &Targets, payload: usize) -> bool {
    let limit = resources.limits.work_per_connection / work::copy_cost(payload);
    targets.plain.len() + targets.shared.len() > limit.max(1)
        && targets.count(!resources.limits.allow_duplicates) > limit.max(1)
}

/// Returns the client and the options of the next delivery, and advances past it. Returns `None` if no delivery is
/// left.
pub(crate) fn next_copy(
    resources: &Resources,
    targets: &mut Targets,
    publish: &PublishRef<'_>,
) -> Option<(ClientKey, DeliveryOptions)> {
    if let Some(Chosen { member, share }) = targets.next_member() {
        let copy = DeliveryOptions::new(&[*member], publish, resources.limits.upgrade_qos);
        return Some((member.client, copy.of_share(share.clone())));
    }
    let of_client = targets.next_client(!resources.limits.allow_duplicates)?;
    let copy = DeliveryOptions::new(of_client, publish, resources.limits.upgrade_qos);
    Some((of_client.first()?.client, copy))
}

/// Chooses the member of a shared subscription that receives this message. The choice is made when the message is
/// published, and not when it is sent: a queued message belongs to the session of one member, which stores it.
pub(crate) fn choose(
    broker: &Broker,
    share: &Share,
    publish: &PublishRef<'_>,
) -> Option<Subscriber> {
    share.choose(|member| member_state(broker, member, publish))
}

/// Returns the state of a member for the choice. A member without a connection receives no message of QoS 0, unless
/// `queue_qos0_messages` is set. A member is unable to receive the message if its queue is full, the ACL denies the
/// topic, or the message exceeds its Maximum Packet Size.
fn member_state(broker: &Broker, member: &Subscriber, publish: &PublishRef<'_>) -> MemberState {
    let Some(client) = broker.sessions.clients.get(member.client) else {
        return MemberState::Unable; // the session has ended, and `background.rs` has not removed this subscription yet
    };
    let Some(topic_name) = delivery::visible_topic(
        &broker.auth,
        &broker.sessions,
        member.client,
        publish.topic_name,
    ) else {
        return MemberState::Unable;
    };
    if client.queue.is_full(&broker.resources.limits)
        || !publish::may(
            &broker.auth,
            &broker.sessions,
            member.client,
            publish.topic_name,
            AclAction::Read,
        )
    {
        return MemberState::Unable;
    }
    let granted = member.state.options.qos.min(publish.delivery.qos());
    let connection = client.connection.and_then(|id| broker.connections.get(id));
    match connection {
        Some(connection) if has_size_for(connection, member, topic_name, publish) => {
            MemberState::Present
        }
        None if granted > QoS::AtMostOnce || broker.resources.limits.queue_qos_0 => {
            MemberState::Away
        }
        _ => MemberState::Unable,
    }
}

/// Returns `true` if the PUBLISH for this client fits its Maximum Packet Size. The broker should choose another member
/// for a message that is too large (MQTT 5.0, 3.1.2.11.4).
fn has_size_for(
    connection: &ConnectionState,
    member: &Subscriber,
    topic_name: &str,
    publish: &PublishRef<'_>,
) -> bool {
    let identifiers: Vec<_> = member.state.identifier.into_iter().collect();
    let mut sent = PublishRef {
        topic_name,
        ..*publish
    };
    sent.properties.topic_alias = None;
    sent.properties.subscription_identifiers = SubscriptionIdentifiers::new(&identifiers);
    connection.protocol.has_size_for(&sent)
}

impl DeliveryOptions {
    /// Returns the options for the matching subscriptions of one client, which must not be empty.
    #[inline(always)] // called for each delivery
    pub(crate) fn new(
        of_client: &[Subscriber],
        publish: &PublishRef<'_>,
        upgrade_qos: bool,
    ) -> Self {
        let [Subscriber { state, .. }] = of_client else {
            return Self::of_overlapping(of_client, publish, upgrade_qos);
        };
        let granted = state.options.qos;
        Self {
            qos: effective_qos(granted, publish, upgrade_qos),
            retain: publish.retain && state.options.retain_as_published, // [MQTT-3.3.1-12, MQTT-3.3.1-13]
            subscription_identifiers: match state.identifier {
                None => Vec::new(),
                Some(identifier) => vec![identifier],
            },
            share: None,
        }
    }

    /// Returns the options of a single delivery for several subscriptions of one client: the highest QoS
    /// [MQTT-3.3.4-2], and all subscription identifiers [MQTT-3.3.4-4].
    fn of_overlapping(
        of_client: &[Subscriber],
        publish: &PublishRef<'_>,
        upgrade_qos: bool,
    ) -> Self {
        let options = of_client.iter().map(|subscriber| subscriber.state.options);
        let highest = options
            .clone()
            .map(|options| options.qos)
            .max()
            .unwrap_or_default();
        let keep_retain = options.clone().any(|options| options.retain_as_published);
        let identifiers = of_client
            .iter()
            .filter_map(|subscriber| subscriber.state.identifier);
        // Each identifier is sent once. A client has at most 1024 different identifiers, which bounds the size of the
        // packet even if thousands of its subscriptions match.
        let mut subscription_identifiers: Vec<_> = identifiers.collect();
        if subscription_identifiers.len() > 1 {
            subscription_identifiers.sort_unstable();
            subscription_identifiers.dedup();
        }
        Self {
            qos: effective_qos(highest, publish, upgrade_qos),
            retain: publish.retain && keep_retain, // [MQTT-3.3.1-12, MQTT-3.3.1-13]
            subscription_identifiers,
            share: None,
        }
    }

    /// Returns the options with the shared subscription that the delivery belongs to.
    pub(crate) fn of_share(self, share: TopicFilter) -> Self {
        Self {
            share: Some(share),
            ..self
        }
    }
}

/// Returns the QoS of a delivery: the lower one of the granted QoS and the QoS of the message, or the granted QoS if
/// `upgrade_outgoing_qos` is set.
fn effective_qos(granted: QoS, publish: &PublishRef<'_>, upgrade_qos: bool) -> QoS {
    match upgrade_qos {
        true => granted,
        false => granted.min(publish.delivery.qos()), // [MQTT-3.8.4-8]
    }
}
