//! A message's way: from its publisher to everyone who subscribed to its topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::{
    Delivery, Message, ProtocolVersion, Publish, QoS, ReasonCode, SubscriptionIdentifiers,
    TopicName, Will,
};
use mqtt_session::{Outgoing, Printable, PublishError};

use crate::access::Rules;
use crate::broker::{Broker, ConnectionId, TimerKey};
use crate::client::{ClientKey, Queued};
use crate::record::Record;
use crate::retained::Retained;
use crate::statistics::SYSTEM;
use crate::subscribers::{Fitness, Share, Subscriber};
use crate::{EVENTS, Right, Who};

/// Levels of a topic name or filter, as mosquitto limits them.
pub(crate) const MAXIMUM_LEVELS: usize = 200;

/// While so many bytes wait for a client's socket it gets no more messages of QoS 0: those of now
/// are dropped, retained ones wait.
const MAXIMUM_UNWRITTEN: usize = 1024 * 1024;

/// A message that is being routed, and its owned form, made when the first client needs to keep it.
struct Routed<'a> {
    publish: Publish<'a>,
    expires: Option<Instant>,
    owned: Option<Arc<Message>>,
}

impl<'a> Routed<'a> {
    fn new(publish: Publish<'a>, now: Instant) -> Self {
        let interval = publish.properties.message_expiry_interval;
        let expires = interval.map(|seconds| now + Duration::from_secs(seconds.into()));
        Self {
            publish,
            expires,
            owned: None,
        }
    }

    /// `None` for a message without topic name, which does not come here.
    fn owned(&mut self) -> Option<Arc<Message>> {
        if self.owned.is_none() {
            self.owned = self.publish.to_message().ok().map(Arc::new);
        }
        self.owned.clone()
    }
}

/// The delivery of a message to one client.
struct Copy {
    qos: QoS,
    retain: bool,
    subscription_identifiers: Vec<mqtt_codec::SubscriptionIdentifier>,
}

impl Broker {
    /// A client has published.
    pub(crate) fn handle_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        publisher: ClientKey,
        publish: &Publish<'_>,
    ) {
        if let Some(reason_code) = self.objection(id, publish) {
            return self.end_connection(now, id, reason_code);
        }
        let mounted = self.mounted(id, publish.topic_name);
        let publish = &Publish {
            topic_name: mounted.as_deref().unwrap_or(publish.topic_name),
            ..*publish
        };
        let reason_code = match self.denial(publisher, publish) {
            Some(reason_code) => reason_code,
            None if self.publish(now, Some(publisher), publish) => ReasonCode::Success,
            None => ReasonCode::NoMatchingSubscribers,
        };
        if let (Some(packet_identifier), Some(link)) = (
            publish.delivery.packet_identifier(),
            self.connections.get_mut(id),
        ) {
            // Every subscriber has it, or its queue has: the broker has taken it over.
            let reason_code = match link.connection.version() {
                ProtocolVersion::V5_0 => reason_code,
                _ => ReasonCode::Success,
            };
            link.connection
                .acknowledge(now, packet_identifier, reason_code);
            if !reason_code.is_error() {
                link.owed_at = Some(self.commits);
            }
        }
    }

    /// Why a connection ends that sends this, if it does.
    fn objection(&self, id: ConnectionId, publish: &Publish<'_>) -> Option<ReasonCode> {
        let access = self.access(self.connections.get(id)?.listener);
        let mount_point = access.mount_point.as_deref().unwrap_or_default();
        let is_short = mount_point.len() + publish.topic_name.len() <= usize::from(u16::MAX);
        if !is_short || !is_publishable(publish.topic_name) {
            return Some(ReasonCode::TopicNameInvalid);
        }
        let maximum_qos = access.limits.maximum_qos;
        if maximum_qos.is_some_and(|maximum| publish.delivery.qos() > maximum) {
            return Some(ReasonCode::QoSNotSupported); // [MQTT-3.2.2-11]
        }
        if publish.retain && !self.limits.retain_available {
            return Some(ReasonCode::RetainNotSupported); // [MQTT-3.2.2-14]
        }
        // A client of 5.0 is told with the acknowledgement; the others cannot be.
        let link = self.connections.get(id)?;
        let is_refused = self.is_full && publish.delivery.qos() > QoS::AtMostOnce;
        let is_untold = link.connection.version() != ProtocolVersion::V5_0;
        (is_refused && is_untold).then_some(ReasonCode::QuotaExceeded)
    }

    /// Why a message is acknowledged and goes nowhere, if it does.
    fn denial(&self, publisher: ClientKey, publish: &Publish<'_>) -> Option<ReasonCode> {
        if self.is_full && publish.delivery.qos() > QoS::AtMostOnce {
            return Some(ReasonCode::QuotaExceeded);
        }
        let name = || {
            self.clients
                .get(publisher)
                .map_or("", |client| &client.identifier)
        };
        if publish.payload.len() > self.limits.maximum_payload {
            log::info!(
                target: EVENTS,
                "Dropped too large PUBLISH from {} ({} bytes)",
                Printable(name()),
                publish.payload.len()
            );
            return Some(ReasonCode::QuotaExceeded);
        }
        if !self.may(publisher, publish.topic_name, Right::Write) {
            log::info!(
                target: EVENTS,
                "Denied PUBLISH from {} ('{}', {} bytes)",
                Printable(name()),
                Printable(publish.topic_name),
                publish.payload.len()
            );
            return Some(ReasonCode::NotAuthorized);
        }
        let (topic_name, size) = (publish.topic_name, publish.payload.len());
        let is_kept = publish.retain && size > 0;
        if is_kept && !self.retained.has_room(topic_name, size, &self.limits) {
            log::info!(
                target: EVENTS,
                "Refused PUBLISH from {} ('{}'): there are too many retained messages",
                Printable(name()),
                Printable(topic_name)
            );
            return Some(ReasonCode::QuotaExceeded);
        }
        None
    }

    /// The topic name with the mount point of the listener before it, if there is one.
    fn mounted(&self, id: ConnectionId, topic_name: &str) -> Option<String> {
        let listener = self.connections.get(id)?.listener;
        let mount_point = self.access(listener).mount_point.as_deref()?;
        Some(format!("{mount_point}{topic_name}"))
    }

    /// What stands before the topics of a client, and not in what it gets.
    pub(crate) fn mount_point(&self, key: ClientKey) -> Option<&str> {
        let listener = self.clients.get(key)?.who.listener;
        self.access(listener).mount_point.as_deref()
    }

    /// Whether a client has this right.
    pub(crate) fn may(&self, key: ClientKey, topic_name: &str, right: Right) -> bool {
        let client = self.clients.get(key);
        client.is_some_and(|client| self.rules.allow(&client.who, topic_name, right))
    }

    pub(crate) fn publish_will(&mut self, now: Instant, key: ClientKey, will: &Will) {
        let name = self
            .clients
            .get(key)
            .map(|client| Arc::clone(&client.identifier));
        let name = name.unwrap_or_default();
        if !self.may(key, &will.message.topic_name, Right::Write) {
            log::info!(target: EVENTS, "Denied will of {}", Printable(&name));
            return;
        }
        log::debug!(target: EVENTS, "Sending will of {}", Printable(&name));
        // The packet identifier is nobody's: only the QoS counts here.
        let delivery = Delivery::first(will.qos, mqtt_codec::PacketIdentifier::FIRST);
        let message = &will.message;
        self.publish_as(now, Some(key), None, &message.publish(delivery));
    }

    /// Keeps the message if it is to be retained and hands it to its subscribers. Says whether there
    /// was one.
    fn publish(&mut self, now: Instant, from: Option<ClientKey>, publish: &Publish<'_>) -> bool {
        self.publish_as(now, from, from, publish)
    }

    /// The same, where `author` has written it, and `from` gets it only if it wants its own messages.
    fn publish_as(
        &mut self,
        now: Instant,
        author: Option<ClientKey>,
        from: Option<ClientKey>,
        publish: &Publish<'_>,
    ) -> bool {
        // The broker's own: from clients they are acknowledged and ignored.
        if [SYSTEM, "$CONTROL/", "$share/"]
            .iter()
            .any(|prefix| publish.topic_name.starts_with(prefix))
        {
            return false;
        }
        let mut routed = Routed::new(*publish, now);
        if publish.retain {
            let author = author.and_then(|author| self.clients.get(author));
            let source = author.map(|author| Arc::new(author.who.clone()));
            self.retain(now, &mut routed, source);
        }
        self.route(now, from, &mut routed)
    }

    /// Retains and routes a message of the broker's own, which does not survive it.
    pub(crate) fn publish_own(&mut self, now: Instant, topic_name: &str, payload: &str) {
        // The packet identifier is nobody's: only the QoS counts here.
        let first = mqtt_codec::PacketIdentifier::FIRST;
        let delivery = Delivery::first(QoS::ExactlyOnce, first);
        let Ok(topic_name) = TopicName::new(topic_name) else {
            return;
        };
        let mut message = Message::new(topic_name, payload.to_owned());
        message.retain = true;
        let message = Arc::new(message);
        self.retained.store(Retained {
            message: Arc::clone(&message),
            qos: QoS::ExactlyOnce,
            expires: None,
            source: None,
        });
        let mut routed = Routed::new(message.publish(delivery), now);
        routed.owned = Some(Arc::clone(&message));
        self.route(now, None, &mut routed);
    }

    /// Hands a message to its subscribers. Says whether there was one.
    fn route(&mut self, now: Instant, from: Option<ClientKey>, routed: &mut Routed<'_>) -> bool {
        let publish = &Publish { ..routed.publish };
        let mut matched = std::mem::take(&mut self.matched);
        matched.clear();
        let mut chosen = Vec::new();
        self.subscriptions
            .each_filter_matching(publish.topic_name, |subscribers| {
                matched.extend(subscribers.plain.iter().filter(|subscriber| {
                    // [MQTT-3.8.3-3]
                    !(subscriber.state.options.no_local && Some(subscriber.client) == from)
                }));
                for share in &subscribers.shares {
                    chosen.extend(self.choose(share, publish));
                }
            });
        // Overlapping subscriptions of a client are one delivery [MQTT-3.3.4-2, MQTT-3.3.4-3]; a
        // shared one is always a delivery of its own.
        matched.sort_by_key(|subscriber| subscriber.client);
        let are_one = !self.limits.allow_duplicates;
        let upgrade_qos = self.limits.upgrade_qos;
        let of_clients = matched.chunk_by(|a, b| are_one && a.client == b.client);
        for of_client in of_clients.chain(chosen.chunks(1)) {
            if let Some(first) = of_client.first() {
                let copy = Copy::new(of_client, publish, upgrade_qos);
                self.deliver(now, first.client, routed, copy);
            }
        }
        let reached = !matched.is_empty() || !chosen.is_empty();
        self.matched = matched;
        reached
    }

    /// The member of a share that gets this message. Who is away gets none of QoS 0, and who has a
    /// full queue none at all.
    fn choose(&self, share: &Share, publish: &Publish<'_>) -> Option<Subscriber> {
        let qos = publish.delivery.qos();
        share.choose(|member| {
            let granted = member.state.options.qos.min(qos);
            match self.clients.get(member.client) {
                Some(client) if client.is_full(&self.limits) => Fitness::Unable,
                _ if !self.may(member.client, publish.topic_name, Right::Read) => Fitness::Unable,
                Some(client) if client.connection.is_some() => Fitness::Present,
                Some(_) if granted > QoS::AtMostOnce || self.limits.queue_qos_0 => Fitness::Away,
                _ => Fitness::Unable,
            }
        })
    }

    fn retain(&mut self, now: Instant, routed: &mut Routed<'_>, source: Option<Arc<Who>>) {
        let (topic_name, size) = (routed.publish.topic_name, routed.publish.payload.len());
        if self.is_full || size > 0 && !self.retained.has_room(topic_name, size, &self.limits) {
            let topic_name = Printable(topic_name);
            log::warn!(target: EVENTS, "A message to {topic_name} is not retained: there is no room.");
            return;
        }
        let Some(message) = routed.owned() else {
            return;
        };
        let topic_name = message.topic_name.clone();
        let (qos, expires) = (routed.publish.delivery.qos(), routed.expires);
        let retained = (!message.payload.is_empty()).then_some(Retained {
            message,
            qos,
            expires,
            source,
        });
        if retained.is_some() && expires.is_some() {
            self.await_sweep(now);
        }
        match &retained {
            Some(retained) => self.retained.store(retained.clone()),
            None => self.retained.remove(&topic_name),
        }
        self.note_retained(topic_name, retained);
    }

    /// Waits for the time when retained messages that have expired are removed.
    pub(crate) fn await_sweep(&mut self, now: Instant) {
        let interval = self.limits.retained_sweep;
        let due = (!interval.is_zero()).then(|| now + interval);
        let scheduled = &mut self.retained.sweep_due;
        self.timers.schedule(TimerKey::Retained, due, scheduled);
    }

    /// Removes retained messages that have expired: no one gets them any more.
    pub(crate) fn sweep_retained(&mut self, now: Instant) {
        self.retained.sweep_due = None;
        let (expired, will_expire) = self.retained.expired(now);
        for topic_name in expired {
            self.retained.remove(&topic_name);
            self.note_retained(topic_name, None);
        }
        if will_expire {
            self.await_sweep(now);
        }
    }

    fn note_retained(&mut self, topic_name: TopicName, retained: Option<Retained>) {
        if let Some(records) = &mut self.records {
            records.push(Record::Retained {
                topic_name,
                retained,
            });
        }
    }

    /// Sends the message to a client, or puts it into the client's queue.
    fn deliver(&mut self, now: Instant, key: ClientKey, routed: &mut Routed<'_>, copy: Copy) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if copy.qos == QoS::AtMostOnce && !(self.limits.queue_qos_0 && client.connection.is_none())
        {
            if client.connection.is_none() {
                return;
            }
            // Behind retained messages that wait it must wait too, or the older one would be the
            // last that the client gets of its topic.
            if client.retained_waiting == 0 {
                return self.deliver_at_once(now, key, &routed.publish, &copy);
            }
        }
        let is_full = client.is_full(&self.limits);
        let Some(message) = routed.owned() else {
            return;
        };
        if is_full && !self.drop_expired(now, key) {
            return self.tell_overflow(key);
        }
        let message = self.unmounted(key, message);
        let outgoing = Outgoing {
            message,
            qos: copy.qos,
            retain: copy.retain,
            subscription_identifiers: copy.subscription_identifiers,
            expires: routed.expires,
        };
        self.enqueue(key, outgoing);
        self.send_queue(now, key);
    }

    /// Sends a message of QoS 0 straight from the publisher's bytes.
    fn deliver_at_once(
        &mut self,
        now: Instant,
        key: ClientKey,
        publish: &Publish<'_>,
        copy: &Copy,
    ) {
        if !self.may(key, publish.topic_name, Right::Read) {
            return;
        }
        let mut publish = *publish;
        if let Some(mount_point) = self.mount_point(key) {
            let rest = publish.topic_name.strip_prefix(mount_point);
            publish.topic_name = rest.unwrap_or(publish.topic_name);
        }
        let id = self.clients.get(key).and_then(|client| client.connection);
        let Some((id, link)) = id.and_then(|id| Some((id, self.connections.get_mut(id)?))) else {
            return;
        };
        if link.connection.output().len() >= MAXIMUM_UNWRITTEN {
            return self.tell_overflow(key);
        }
        publish.retain = copy.retain;
        publish.properties.topic_alias = None;
        publish.properties.subscription_identifiers =
            SubscriptionIdentifiers::new(&copy.subscription_identifiers);
        // Too large for this client, or the client is gone: not delivered.
        let _ = link.connection.publish_at_most_once(now, &publish);
        self.mark_changed(id);
    }

    /// Sends what waits for a client, as far as its window and its socket have room.
    pub(crate) fn send_queue(&mut self, now: Instant, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(id) = client.connection else {
            return;
        };
        let Some(link) = self.connections.get_mut(id) else {
            return;
        };
        let mut sent = false;
        let mut done = Vec::new();
        let is_recorded = self.records.is_some();
        while let Some(Queued { number, outgoing }) = client.queue.pop_front() {
            if outgoing.has_expired(now) {
                client.waits_no_longer(&outgoing);
                done.push(number);
                continue; // [MQTT-3.3.2-5]
            }
            // Rights are those of the moment in which a message leaves.
            if !may_receive(&self.rules, &client.who, &outgoing.message) {
                client.waits_no_longer(&outgoing);
                done.push(number);
                continue;
            }
            let room = match outgoing.qos {
                QoS::AtMostOnce => link.connection.output().len() < MAXIMUM_UNWRITTEN,
                _ => {
                    link.connection.has_room() && {
                        let maximum = self.limits.maximum_in_flight_bytes;
                        maximum == usize::MAX || link.connection.unfinished_sent_bytes() < maximum
                    }
                }
            };
            if !room || !link.connection.is_connected() {
                client.queue.push_front(Queued { number, outgoing });
                break;
            }
            client.waits_no_longer(&outgoing);
            match link.connection.publish(now, outgoing) {
                Ok(packet_identifier) => {
                    sent = true;
                    if let Some(packet_identifier) = packet_identifier.filter(|_| is_recorded) {
                        client.in_flight.insert(packet_identifier, number);
                    }
                }
                // Too large for this client: as if it were delivered [MQTT-3.1.2-25].
                Err(PublishError::Encode(error)) => {
                    let name = Printable(&client.identifier);
                    log::warn!(target: EVENTS, "A message for client {name} is not sent: {error}.");
                    done.push(number);
                }
                Err(_) => done.push(number),
            }
        }
        if client.queue.is_empty() {
            client.overflow_told = false;
        }
        for number in done {
            self.note(key, |client| Record::Finished {
                client: Arc::clone(&client.identifier),
                number,
            });
        }
        if sent {
            self.note_changes(id);
            self.mark_changed(id);
        }
    }

    /// A message waits for a client.
    pub(crate) fn enqueue(&mut self, key: ClientKey, outgoing: Outgoing) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let is_kept = self.records.is_some() && outgoing.qos > QoS::AtMostOnce;
        let kept = is_kept.then(|| outgoing.clone());
        let number = client.enqueue(outgoing);
        if let Some(outgoing) = kept {
            self.note(key, |client| Record::Queued {
                client: Arc::clone(&client.identifier),
                number,
                outgoing,
            });
        }
    }

    /// Makes room in a full queue; says whether there is some now.
    fn drop_expired(&mut self, now: Instant, key: ClientKey) -> bool {
        let Some(client) = self.clients.get_mut(key) else {
            return false;
        };
        let mut done = Vec::new();
        let (mut retained, mut bytes) = (0, 0);
        client.queue.retain(|queued| {
            let is_expired = queued.outgoing.has_expired(now);
            if is_expired {
                retained += usize::from(queued.outgoing.retain);
                bytes += queued.outgoing.message.payload.len();
                done.push(queued.number);
            }
            !is_expired
        });
        client.retained_waiting -= retained;
        client.queued_bytes -= bytes;
        for number in &done {
            self.note(key, |client| Record::Finished {
                client: Arc::clone(&client.identifier),
                number: *number,
            });
        }
        !done.is_empty()
    }

    /// The message as a client sees it, behind its mount point.
    pub(crate) fn unmounted(&self, key: ClientKey, message: Arc<Message>) -> Arc<Message> {
        let Some(mount_point) = self.mount_point(key) else {
            return message;
        };
        let rest = message.topic_name.strip_prefix(mount_point);
        match rest.and_then(|rest| TopicName::new(rest).ok()) {
            Some(topic_name) => Arc::new(Message {
                topic_name,
                ..Message::clone(&message)
            }),
            None => message,
        }
    }

    fn tell_overflow(&mut self, key: ClientKey) {
        self.statistics.dropped += 1;
        if let Some(client) = self.clients.get_mut(key) {
            if !client.overflow_told {
                client.overflow_told = true;
                let name = Printable(&client.identifier);
                log::warn!(
                    target: EVENTS,
                    "Outgoing messages are being dropped for client {name}."
                );
            }
        }
    }
}

/// Whether a client may have this message, which is without the mount point of the client already.
pub(crate) fn may_receive(rules: &Rules, who: &Who, message: &Message) -> bool {
    match rules.of(who.listener).mount_point.as_deref() {
        None => rules.allow(who, &message.topic_name, Right::Read),
        Some(mount_point) => {
            let topic_name = format!("{mount_point}{}", message.topic_name);
            rules.allow(who, &topic_name, Right::Read)
        }
    }
}

impl Copy {
    fn new(of_client: &[Subscriber], publish: &Publish<'_>, upgrade_qos: bool) -> Self {
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
        Self {
            qos: match upgrade_qos {
                true => highest,
                false => highest.min(publish.delivery.qos()), // [MQTT-3.8.4-8]
            },
            retain: publish.retain && keep_retain, // [MQTT-3.3.1-12, MQTT-3.3.1-13]
            subscription_identifiers: identifiers.collect(),
        }
    }
}

/// Whether a client may publish to this topic: not too deep, and without the control characters
/// that strict clients refuse.
pub(crate) fn is_publishable(topic_name: &str) -> bool {
    mqtt_codec::levels(topic_name)
        .take(MAXIMUM_LEVELS + 1)
        .count()
        <= MAXIMUM_LEVELS
        && is_plain_text(topic_name)
}

/// Whether a text is without the control characters and non-characters that strict peers refuse.
pub(crate) fn is_plain_text(text: &str) -> bool {
    let is_noncharacter = |c: char| {
        let code = u32::from(c);
        (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
    };
    !text.chars().any(|c| c.is_control() || is_noncharacter(c))
}
