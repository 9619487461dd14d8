//! SUBSCRIBE and UNSUBSCRIBE at the broker (MQTT 5.0, 3.8 and 3.10). The retained messages that answer a subscription
//! are sent by `replay.rs` and `sending.rs`.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{
    PacketIdentifier, QoS, ReasonCode, Suback, Subscribe, Subscription, TopicFilter, Unsubscribe,
};
use mqtt_session::Printable;

use crate::EVENTS;
use crate::broker::{Broker, ConnectionId};
use crate::client::{ClientKey, Stored, SubscriptionState};
use crate::publishing::MAXIMUM_LEVELS;
use crate::record::Record;
use crate::subscribers::Subscriber;

/// Subscriptions that a client may have.
const MAXIMUM_SUBSCRIPTIONS: usize = 100_000;

impl Broker {
    pub(crate) fn handle_subscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: ClientKey,
        subscribe: Subscribe,
    ) {
        let identifier = subscribe.properties.subscription_identifier;
        let mut reason_codes = Vec::with_capacity(subscribe.subscriptions.len());
        let mut granted = Vec::new();
        let listener = self.connections.get(id).map(|link| link.listener);
        let maximum_qos = listener.and_then(|listener| self.access(listener).limits.maximum_qos);
        for mut subscription in subscribe.subscriptions {
            let options = &mut subscription.options;
            options.qos = options.qos.min(maximum_qos.unwrap_or(QoS::ExactlyOnce));
            let state = SubscriptionState {
                options: subscription.options,
                identifier,
            };
            let result = match self.mounted_filter(key, &subscription.topic_filter) {
                Ok(mounted) => {
                    subscription.topic_filter = mounted.unwrap_or(subscription.topic_filter);
                    self.add_subscription(key, &subscription, state)
                }
                Err(reason_code) => Err(reason_code),
            };
            reason_codes.push(match result {
                Ok(_) => ReasonCode::granted(subscription.options.qos),
                Err(reason_code) => reason_code,
            });
            if let Ok(is_new) = result {
                granted.push((subscription.topic_filter, state, is_new));
            }
        }
        self.answer(now, id, subscribe.packet_identifier, reason_codes);
        for (topic_filter, state, is_new) in granted {
            self.replay_retained(now, key, &topic_filter, state, is_new);
        }
    }

    pub(crate) fn handle_unsubscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: ClientKey,
        unsubscribe: &Unsubscribe,
    ) {
        let mut reason_codes = Vec::with_capacity(unsubscribe.topic_filters.len());
        for topic_filter in &unsubscribe.topic_filters {
            // One that is too long with it was not subscribed to.
            let mounted = self.mounted_filter(key, topic_filter).ok().flatten();
            let topic_filter = mounted.as_ref().unwrap_or(topic_filter);
            let client = self.clients.get_mut(key);
            let is_removed = client.is_some_and(|client| client.remove_subscription(topic_filter));
            if is_removed {
                self.remove_subscriber(topic_filter, key);
                self.end_replay(key, topic_filter);
                self.note(key, |client| Record::Unsubscribed {
                    client: Arc::clone(&client.identifier),
                    topic_filter: topic_filter.clone(),
                });
            }
            reason_codes.push(match is_removed {
                true => ReasonCode::Success,
                false => ReasonCode::NoSubscriptionExisted,
            });
        }
        if let Some(link) = self.connections.get_mut(id) {
            link.connection.unsuback(
                now,
                Suback::new(unsubscribe.packet_identifier, reason_codes),
            );
        }
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
        if let Some(link) = self.connections.get_mut(id) {
            link.connection
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
        let client = self
            .clients
            .get_mut(key)
            .ok_or(ReasonCode::UnspecifiedError)?;
        if mqtt_codec::levels(filter).take(MAXIMUM_LEVELS + 1).count() > MAXIMUM_LEVELS {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let is_new = !client.subscriptions.contains_key(filter);
        let lacks_storage = self.is_above_limit && client.stored == Stored::Session;
        if is_new && (lacks_storage || client.subscriptions.len() >= MAXIMUM_SUBSCRIPTIONS) {
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
        self.note(key, |client| Record::Subscribed {
            client: Arc::clone(&client.identifier),
            topic_filter: filter.clone(),
            state,
        });
        Ok(is_new)
    }
}
