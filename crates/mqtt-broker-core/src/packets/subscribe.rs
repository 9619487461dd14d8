//! SUBSCRIBE and UNSUBSCRIBE at the broker (MQTT 5.0, 3.8 and 3.10). The retained messages that answer a subscription
//! are sent by `replay.rs` and `sending.rs`.

use std::sync::Arc;
use std::time::Instant;
use std::vec::IntoIter;

use mqtt_codec::{
    PacketIdentifier, ProtocolVersion, QoS, ReasonCode, Suback, Subscribe, Subscription,
    SubscriptionIdentifier, TopicFilter, Unsubscribe,
};
use mqtt_session::Printable;

use crate::EVENTS;
use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::durability::mutation::Mutation;
use crate::packets::input::Task;
use crate::packets::publish::is_too_deep;
use crate::sessions::client::{ClientKey, Stored, SubscriptionState};
use crate::topics::subscriptions::Subscriber;

/// Subscriptions that a client may have.
const MAXIMUM_SUBSCRIPTIONS: usize = 100_000;

/// A SUBSCRIBE that is being handled, perhaps in several turns.
pub(crate) struct SubscribeTask {
    packet_identifier: PacketIdentifier,
    identifier: Option<SubscriptionIdentifier>,
    maximum_qos: QoS,
    left: IntoIter<Subscription>,
    reason_codes: Vec<ReasonCode>,
}

/// An UNSUBSCRIBE that is being handled, perhaps in several turns.
pub(crate) struct UnsubscribeTask {
    packet_identifier: PacketIdentifier,
    left: IntoIter<TopicFilter>,
    reason_codes: Vec<ReasonCode>,
}

impl Broker {
    pub(crate) fn handle_subscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: ClientKey,
        subscribe: Subscribe,
    ) {
        let listener = self
            .connections
            .get(id)
            .map(|connection| connection.listener);
        let maximum_qos = listener.and_then(|listener| self.policy(listener).limits.maximum_qos);
        let task = SubscribeTask {
            packet_identifier: subscribe.packet_identifier,
            identifier: subscribe.properties.subscription_identifier,
            maximum_qos: maximum_qos.unwrap_or(QoS::ExactlyOnce),
            reason_codes: Vec::with_capacity(subscribe.subscriptions.len()),
            left: subscribe.subscriptions.into_iter(),
        };
        self.continue_subscribe(now, id, key, task);
    }

    /// Makes subscriptions, answers them, and begins to send their retained messages, until it is done or the
    /// connection has to stop for this turn.
    pub(crate) fn continue_subscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: ClientKey,
        mut task: SubscribeTask,
    ) {
        loop {
            if self.must_stop(id, key) {
                return self.put_off(id, Task::Subscribe(task));
            }
            let Some(subscription) = task.left.next() else {
                break;
            };
            self.subscribe(id, key, &mut task, subscription);
        }
        self.answer(now, id, task.packet_identifier, task.reason_codes);
        // The replays that have begun send nothing before SUBACK, if nothing else is delivered meanwhile.
        self.send_queue(now, key);
    }

    fn subscribe(
        &mut self,
        id: ConnectionId,
        key: ClientKey,
        task: &mut SubscribeTask,
        mut subscription: Subscription,
    ) {
        self.work.spend(1);
        let before = self.mutation_count();
        let options = &mut subscription.options;
        options.qos = options.qos.min(task.maximum_qos);
        // In 3.x a SUBSCRIBE cannot ask for these. A bridge of 5.0 does, where it wants them.
        if self.is_bridge_without_options(id) {
            options.no_local = true;
            options.retain_as_published = true;
        }
        let state = SubscriptionState {
            options: subscription.options,
            identifier: task.identifier,
        };
        let result = match self.mounted_filter(key, &subscription.topic_filter) {
            Ok(mounted) => {
                subscription.topic_filter = mounted.unwrap_or(subscription.topic_filter);
                self.add_subscription(key, &subscription, state)
            }
            Err(reason_code) => Err(reason_code),
        };
        task.reason_codes.push(match result {
            Ok(_) => ReasonCode::granted(subscription.options.qos),
            Err(reason_code) => reason_code,
        });
        if let Ok(is_new) = result {
            self.begin_replay(key, &subscription.topic_filter, state, is_new);
        }
        self.note_mutations_of(id, before);
    }

    /// Returns `true` for a bridge of 3.x. It must not get its own messages back, which would go round between the two
    /// brokers, and it needs RETAIN as published, so that its broker retains what was retained here.
    fn is_bridge_without_options(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id);
        connection.is_some_and(|connection| {
            connection.is_bridge && connection.protocol.version() != ProtocolVersion::V5_0
        })
    }

    pub(crate) fn handle_unsubscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: ClientKey,
        unsubscribe: Unsubscribe,
    ) {
        let task = UnsubscribeTask {
            packet_identifier: unsubscribe.packet_identifier,
            reason_codes: Vec::with_capacity(unsubscribe.topic_filters.len()),
            left: unsubscribe.topic_filters.into_iter(),
        };
        self.continue_unsubscribe(now, id, key, task);
    }

    /// Ends subscriptions and answers, until it is done or the connection has to stop for this turn.
    pub(crate) fn continue_unsubscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: ClientKey,
        mut task: UnsubscribeTask,
    ) {
        loop {
            if self.must_stop(id, key) {
                return self.put_off(id, Task::Unsubscribe(task));
            }
            let Some(topic_filter) = task.left.next() else {
                break;
            };
            let before = self.mutation_count();
            task.reason_codes.push(self.unsubscribe(key, &topic_filter));
            self.note_mutations_of(id, before);
        }
        if let Some(connection) = self.connections.get_mut(id) {
            let unsuback = Suback::new(task.packet_identifier, task.reason_codes);
            connection.protocol.unsuback(now, unsuback);
        }
    }

    fn unsubscribe(&mut self, key: ClientKey, topic_filter: &TopicFilter) -> ReasonCode {
        self.work.spend(1);
        // One that is too long with it was not subscribed to.
        let mounted = self.mounted_filter(key, topic_filter).ok().flatten();
        let topic_filter = mounted.as_ref().unwrap_or(topic_filter);
        let client = self.clients.get_mut(key);
        if !client.is_some_and(|client| client.remove_subscription(topic_filter)) {
            return ReasonCode::NoSubscriptionExisted;
        }
        self.remove_subscriber(topic_filter, key);
        self.end_replay(key, topic_filter);
        self.note(key, |client| Mutation::Unsubscribed {
            client: Arc::clone(&client.identifier),
            topic_filter: topic_filter.clone(),
        });
        ReasonCode::Success
    }

    /// Returns `true` if the packet that is being handled must continue in a later turn: its work is done for this one, or
    /// its mutations have to wait.
    fn must_stop(&mut self, id: ConnectionId, key: ClientKey) -> bool {
        let client = self.clients.get(key);
        let is_stored = client.is_some_and(|client| client.stored == Stored::Session);
        self.work.is_spent() || is_stored && self.is_throttled(id)
    }

    /// The filter with the mount point of the client before it, if there is one.
    fn mounted_filter(
        &self,
        key: ClientKey,
        filter: &TopicFilter,
    ) -> Result<Option<TopicFilter>, ReasonCode> {
        let Some(mount_point) = self.mount_point(key) else {
            return Ok(None);
        };
        let plain = filter.without_share();
        let share = filter.strip_suffix(plain).unwrap_or_default();
        let mounted = TopicFilter::new(&format!("{share}{mount_point}{plain}"));
        mounted
            .map(Some)
            .map_err(|_| ReasonCode::TopicFilterInvalid)
    }

    /// A client has a subscription no longer.
    pub(crate) fn remove_subscriber(&mut self, topic_filter: &TopicFilter, key: ClientKey) {
        self.statistics.subscribed(topic_filter, -1);
        let plain = topic_filter.without_share();
        self.subscriptions
            .update(plain, |subscribers| subscribers.remove(topic_filter, key));
    }

    fn answer(
        &mut self,
        now: Instant,
        id: ConnectionId,
        packet_identifier: PacketIdentifier,
        reason_codes: Vec<ReasonCode>,
    ) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection
                .protocol
                .suback(now, Suback::new(packet_identifier, reason_codes));
        }
    }

    /// Adds a subscription or replaces the one with the same filter [MQTT-3.8.4-3]. Says whether it
    /// is new, or why it is refused.
    fn add_subscription(
        &mut self,
        key: ClientKey,
        subscription: &Subscription,
        state: SubscriptionState,
    ) -> Result<bool, ReasonCode> {
        let filter = &subscription.topic_filter;
        let lacks_memory = self.lacks_memory();
        let client = self
            .clients
            .get_mut(key)
            .ok_or(ReasonCode::UnspecifiedError)?;
        if is_too_deep(filter) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let before = client.subscriptions.get(filter);
        if before == Some(&state) {
            return Ok(false); // nothing changes, and nothing is recorded
        }
        let is_new = before.is_none();
        let lacks_storage = self.is_above_limit && client.stored == Stored::Session;
        if is_new
            && (lacks_storage
                || lacks_memory
                || client.subscriptions.len() >= MAXIMUM_SUBSCRIPTIONS)
        {
            return Err(ReasonCode::QuotaExceeded);
        }
        if client.has_too_many_identifiers(state.identifier) {
            return Err(ReasonCode::QuotaExceeded);
        }
        client.insert_subscription(filter.clone(), state);
        self.statistics.subscribed(filter, i64::from(is_new));
        let qos = state.options.qos;
        let name = Printable(&client.identifier);
        log::debug!(target: EVENTS, "{name} {qos} {}", Printable(filter));
        let subscriber = Subscriber { client: key, state };
        self.subscriptions
            .insert(filter.without_share(), |subscribers| {
                subscribers.add(filter, subscriber)
            });
        self.note(key, |client| Mutation::Subscribed {
            client: Arc::clone(&client.identifier),
            topic_filter: filter.clone(),
            state,
        });
        Ok(is_new)
    }
}
