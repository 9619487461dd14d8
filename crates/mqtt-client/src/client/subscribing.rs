//! Methods of [`Client`] for subscriptions. The blocking and the asynchronous client share the requests and the
//! evaluation of their answers.

use std::sync::Arc;

use mqtt_codec::{
    ProtocolVersion, QoS, ReasonCode, SubscribeProperties, Subscription, SubscriptionOptions,
    TopicFilter, UnsubscribeProperties,
};

use super::completion::Slot;
use super::error::SubscribeError;
use super::handle::Client;
use super::outbox::{Request, SubscribeSlot};
use super::waiting::deadline_after;

impl Client {
    /// Subscribes to a topic filter, and returns the QoS that the server has granted. If the server loses the session,
    /// the client subscribes again automatically. If the server then rejects the subscription, the client reports
    /// [`ClientEvent::SubscriptionRefused`](crate::ClientEvent::SubscriptionRefused).
    ///
    /// # Errors
    /// Returns an error if the topic filter is invalid, if the server rejects it or does not answer in time, or if the
    /// client has ended.
    pub fn subscribe(&self, topic_filter: &str, qos: QoS) -> Result<QoS, SubscribeError> {
        let subscription = Self::subscription(topic_filter, qos)?;
        let granted = self.subscribe_all(vec![subscription], SubscribeProperties::default())?;
        granted
            .into_iter()
            .next()
            .unwrap_or(Err(SubscribeError::Empty))
    }

    pub(super) fn subscription(
        topic_filter: &str,
        qos: QoS,
    ) -> Result<Subscription, SubscribeError> {
        Ok(Subscription {
            topic_filter: valid_filter(topic_filter)?,
            options: SubscriptionOptions::new(qos),
        })
    }

    /// Subscribes to several topic filters with options in one request. Returns for each topic filter the QoS that the
    /// server has granted, or the error with which the server has rejected it.
    ///
    /// # Errors
    /// Returns an error if the whole request fails: if the protocol version does not support an option, if the server
    /// does not answer in time, or if the client has ended.
    pub fn subscribe_all(
        &self,
        subscriptions: Vec<Subscription>,
        properties: SubscribeProperties,
    ) -> Result<Vec<Result<QoS, SubscribeError>>, SubscribeError> {
        let (request, slot, filters) = self.subscribe_request(subscriptions, properties)?;
        let first = filters.first().map_or("", String::as_str);
        let reason_codes = self.request(request, &slot, first)?;
        Ok(Self::granted(filters, reason_codes))
    }

    /// Returns a SUBSCRIBE request, the slot for its result, and its topic filters.
    pub(super) fn subscribe_request(
        &self,
        subscriptions: Vec<Subscription>,
        properties: SubscribeProperties,
    ) -> Result<(Request, SubscribeSlot, Vec<String>), SubscribeError> {
        let has_options = |subscription: &Subscription| {
            subscription.options != SubscriptionOptions::new(subscription.options.qos)
        };
        if self.handle.version != ProtocolVersion::V5_0 {
            if subscriptions.iter().any(has_options) {
                let feature = "options of subscriptions";
                return Err(SubscribeError::Unsupported { feature });
            }
            if properties != SubscribeProperties::default() {
                let feature = "properties";
                return Err(SubscribeError::Unsupported { feature });
            }
        }
        let filters = subscriptions.iter().map(|one| one.topic_filter.to_string());
        let filters: Vec<_> = filters.collect();
        if filters.is_empty() {
            return Err(SubscribeError::Empty);
        }
        let slot = Slot::new();
        let request = Request::Subscribe {
            subscriptions,
            properties,
            slot: Arc::clone(&slot),
        };
        Ok((request, slot, filters))
    }

    /// Returns the result of each topic filter of a SUBSCRIBE request.
    pub(super) fn granted(
        filters: Vec<String>,
        reason_codes: Vec<ReasonCode>,
    ) -> Vec<Result<QoS, SubscribeError>> {
        let granted = filters.into_iter().zip(reason_codes);
        let result = |(topic_filter, reason_code): (String, ReasonCode)| {
            QoS::from_value(reason_code.value()).ok_or(SubscribeError::Refused {
                topic_filter,
                reason_code,
            })
        };
        granted.map(result).collect()
    }

    /// Removes a subscription. Waits until the server has answered.
    ///
    /// # Errors
    /// Returns the errors of [`Self::subscribe`].
    pub fn unsubscribe(&self, topic_filter: &str) -> Result<(), SubscribeError> {
        let (request, slot) = Self::unsubscribe_request(topic_filter)?;
        let reason_codes = self.request(request, &slot, topic_filter)?;
        Self::unsubscribed(topic_filter, &reason_codes)
    }

    pub(super) fn unsubscribe_request(
        topic_filter: &str,
    ) -> Result<(Request, SubscribeSlot), SubscribeError> {
        let slot = Slot::new();
        let request = Request::Unsubscribe {
            topic_filters: vec![valid_filter(topic_filter)?],
            properties: UnsubscribeProperties::default(),
            slot: Arc::clone(&slot),
        };
        Ok((request, slot))
    }

    /// Returns the result of an UNSUBSCRIBE request.
    pub(super) fn unsubscribed(
        topic_filter: &str,
        reason_codes: &[ReasonCode],
    ) -> Result<(), SubscribeError> {
        match reason_codes.first() {
            Some(&reason_code) if reason_code.is_error() => Err(SubscribeError::Refused {
                topic_filter: topic_filter.to_owned(),
                reason_code,
            }),
            _ => Ok(()),
        }
    }

    /// Passes a request to the thread of the client, and waits for its result.
    fn request(
        &self,
        request: Request,
        slot: &SubscribeSlot,
        first_filter: &str,
    ) -> Result<Vec<ReasonCode>, SubscribeError> {
        let deadline = deadline_after(self.handle.limits.request_timeout);
        let shared = self.shared();
        shared
            .outbox
            .request(request)
            .map_err(SubscribeError::Closed)?;
        match shared.completions.wait(slot, deadline) {
            Some(result) => result.clone(),
            None => Err(SubscribeError::TimedOut {
                topic_filter: first_filter.to_owned(),
            }),
        }
    }
}

fn valid_filter(topic_filter: &str) -> Result<TopicFilter, SubscribeError> {
    TopicFilter::new(topic_filter).map_err(|_| SubscribeError::InvalidTopicFilter {
        topic_filter: topic_filter.to_owned(),
    })
}
