//! The last part of a message's way: to a client at once, or by its queue as its window and socket allow.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Message, Publish, QoS, SubscriptionIdentifiers, TopicName};
use mqtt_session::{Excerpt, Outgoing, PublishError};

use crate::access::Rules;
use crate::broker::Broker;
use crate::client::ClientKey;
use crate::log_limiter::LogEvent;
use crate::queue::Queued;
use crate::record::Record;
use crate::routing::{Copy, Routed};
use crate::{EVENTS, Right, Who};

/// While so many bytes wait for a client's socket it gets no more messages of QoS 0: those of now
/// are dropped, retained ones wait.
const MAXIMUM_UNWRITTEN: usize = 1024 * 1024;

impl Broker {
    /// Sends the message to a client, or puts it into the client's queue.
    pub(crate) fn deliver(
        &mut self,
        now: Instant,
        key: ClientKey,
        routed: &mut Routed<'_>,
        copy: Copy,
    ) {
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
            if !client.queue.has_retained() {
                return self.deliver_at_once(now, key, &routed.publish, &copy);
            }
        }
        let is_full = client.queue.is_full(&self.limits);
        let Some(message) = self.visible_message(key, routed) else {
            return;
        };
        if is_full && !self.drop_expired(now, key) {
            return self.tell_overflow(key);
        }
        let outgoing = Outgoing {
            message,
            qos: copy.qos,
            retain: copy.retain,
            subscription_identifiers: copy.subscription_identifiers,
            share: copy.share,
            expires: routed.expires,
        };
        self.enqueue(key, outgoing);
        self.send_queue(now, key);
        self.note_crowding(now, key);
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
        let Some(topic_name) = self.visible_topic(key, publish.topic_name) else {
            return;
        };
        publish.topic_name = topic_name;
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
        while let Some(Queued { number, outgoing }) = client.queue.pop() {
            if outgoing.has_expired(now) {
                done.push(number);
                continue; // [MQTT-3.3.2-5]
            }
            // Rights are those of the moment in which a message leaves.
            if !may_receive(&self.rules, &client.who, &outgoing.message) {
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
                client.queue.put_back(Queued { number, outgoing });
                break;
            }
            match link.connection.publish(now, outgoing) {
                Ok(packet_identifier) => {
                    sent = true;
                    if let Some(packet_identifier) = packet_identifier.filter(|_| is_recorded) {
                        client.in_flight.insert(packet_identifier, number);
                    }
                }
                // Too large for this client: as if it were delivered [MQTT-3.1.2-25].
                Err(PublishError::Encode(error)) => {
                    let name = &client.identifier;
                    if self.log_limiter.admits(now, LogEvent::NotSent, name) {
                        let name = Excerpt(name);
                        log::warn!(target: EVENTS, "A message for client {name} is not sent: {error}.");
                    }
                    done.push(number);
                }
                Err(_) => done.push(number),
            }
        }
        client.queue.is_over();
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
        let done = client.queue.drop_expired(now);
        for number in &done {
            self.note(key, |client| Record::Finished {
                client: Arc::clone(&client.identifier),
                number: *number,
            });
        }
        !done.is_empty()
    }

    /// Returns the owned form of a message as a client sees it; `None` if the client must not see it. Clients behind
    /// one mount point share it, in memory and in the store.
    fn visible_message(&self, key: ClientKey, routed: &mut Routed<'_>) -> Option<Arc<Message>> {
        let message = routed.owned()?;
        let visible = self.visible_topic(key, &message.topic_name)?;
        if visible.len() == message.topic_name.len() {
            return Some(message);
        }
        let known = routed.unmounted.as_ref();
        if let Some(known) = known.filter(|known| *known.topic_name == *visible) {
            return Some(Arc::clone(known));
        }
        routed.unmounted = self.unmounted(key, message);
        routed.unmounted.clone()
    }

    /// Returns the message as a client sees it, without its mount point; `None` if the client must not see it.
    pub(crate) fn unmounted(&self, key: ClientKey, message: Arc<Message>) -> Option<Arc<Message>> {
        let visible = self.visible_topic(key, &message.topic_name)?;
        if visible.len() == message.topic_name.len() {
            return Some(message);
        }
        let topic_name = TopicName::new(visible).ok()?;
        Some(Arc::new(Message {
            topic_name,
            ..Message::clone(&message)
        }))
    }

    /// Returns the topic name as a client sees it, without its mount point.
    ///
    /// A client behind `ten1/` has `ten1/#` for its `#`, which matches `ten1` and `ten1/` too. Neither has a name
    /// behind the mount point, where a topic name has a character at least [MQTT-4.7.3-1]: both are `None`.
    pub(crate) fn visible_topic<'a>(&self, key: ClientKey, topic_name: &'a str) -> Option<&'a str> {
        match self.mount_point(key) {
            None => Some(topic_name),
            Some(mount_point) => topic_name
                .strip_prefix(mount_point)
                .filter(|rest| !rest.is_empty()),
        }
    }

    fn tell_overflow(&mut self, key: ClientKey) {
        self.statistics.dropped += 1;
        if let Some(client) = self.clients.get_mut(key) {
            if client.queue.overflows() {
                let name = Excerpt(&client.identifier);
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
