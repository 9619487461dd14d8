//! [`Subscriptions`] stores the subscriptions that the server has granted, and the requests that the server has not
//! answered.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::Instant;

use mqtt_codec::{
    EncodeError, PacketIdentifier, ReasonCode, Suback, SubscribeProperties, Subscription,
};
use mqtt_session::{Connection, PublishError as SendError};

use super::error::SubscribeError;
use super::event_queue::{ClientEvent, EventQueue};
use super::outbox::{Request, SubscribeSlot};

/// Subscriptions and pending requests of a client.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Subscriptions that the server has granted. If the server loses the session, the client subscribes to them again.
    granted: Vec<(Subscription, SubscribeProperties)>,
    /// Requests that were sent and have not been answered.
    sent: HashMap<PacketIdentifier, Sent>,
    /// Set if a connection was lost before the server answered a SUBSCRIBE that restores subscriptions.
    is_incomplete: bool,
}

/// A SUBSCRIBE or UNSUBSCRIBE that was sent.
#[derive(Debug)]
enum Sent {
    Request(Request),
    /// SUBSCRIBE that restores the subscriptions of a lost session. No caller waits for its result.
    Again(Vec<Subscription>),
}

impl Subscriptions {
    /// Sends SUBSCRIBE or UNSUBSCRIBE. Returns the request if it cannot be sent yet, for example without a connection.
    pub(super) fn send(
        &mut self,
        connection: Option<&mut Connection>,
        request: Request,
    ) -> Result<(), Request> {
        let Some(connection) = connection else {
            return Err(request);
        };
        let now = Instant::now();
        let (result, slot) = match &request {
            Request::Subscribe {
                subscriptions,
                properties,
                slot,
            } => {
                let result = connection.subscribe(now, subscriptions.clone(), properties.clone());
                (result, slot)
            }
            Request::Unsubscribe {
                topic_filters,
                properties,
                slot,
            } => {
                let result = connection.unsubscribe(now, topic_filters.clone(), properties.clone());
                (result, slot)
            }
        };
        match result {
            Ok(packet_identifier) => {
                self.sent.insert(packet_identifier, Sent::Request(request));
            }
            Err(SendError::NotConnected | SendError::QuotaUsedUp) => return Err(request),
            Err(error) => slot.complete(Err(unsendable(error))),
        }
        Ok(())
    }

    /// Records that the server has accepted a connection. If the server has no session, the client subscribes again.
    pub(super) fn handle_connected(
        &mut self,
        connection: &mut Connection,
        session_present: bool,
        events: &EventQueue,
    ) {
        // The flag is cleared in both cases, because all subscriptions are sent below if it is set.
        let is_incomplete = std::mem::take(&mut self.is_incomplete);
        // If an earlier SUBSCRIBE for this purpose was not answered, the session may have only a part of the
        // subscriptions.
        if session_present && !is_incomplete {
            return;
        }
        let granted = std::mem::take(&mut self.granted);
        let mut rest = &granted[..];
        while let Some((first, properties)) = rest.first() {
            // Subscriptions with the same properties share one packet. `MAXIMUM_FILTERS` limits the size of the packet.
            let same = rest.iter().take(MAXIMUM_FILTERS);
            let count = same.take_while(|(_, other)| other == properties).count();
            let (group, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = others;
            let subscriptions: Vec<_> = group.iter().map(|(one, _)| one.clone()).collect();
            debug_assert_eq!(subscriptions.first(), Some(first));
            if self
                .restore(connection, subscriptions.clone(), properties)
                .is_ok()
            {
                continue;
            }
            // The server may accept only small packets.
            for subscription in subscriptions {
                let topic_filter = subscription.topic_filter.clone();
                let sent = self.restore(connection, vec![subscription], properties);
                if let Err(reason_code) = sent {
                    // The next connection may be to a server that accepts the packet.
                    self.is_incomplete = true;
                    events.add(ClientEvent::SubscriptionRefused {
                        topic_filter,
                        reason_code,
                    });
                }
            }
        }
        self.granted = granted;
    }

    /// Sends a SUBSCRIBE that restores subscriptions. If it cannot be sent to this server, returns the reason code that
    /// describes the cause.
    fn restore(
        &mut self,
        connection: &mut Connection,
        subscriptions: Vec<Subscription>,
        properties: &SubscribeProperties,
    ) -> Result<(), ReasonCode> {
        let sent = connection.subscribe(Instant::now(), subscriptions.clone(), properties.clone());
        let packet_identifier = sent.map_err(|error| match error {
            SendError::Encode(EncodeError::PacketTooLarge(_)) => ReasonCode::PacketTooLarge,
            // All packet identifiers are in use.
            SendError::QuotaUsedUp => ReasonCode::QuotaExceeded,
            _ => ReasonCode::ImplementationSpecificError,
        })?;
        let again = Sent::Again(subscriptions);
        self.sent.insert(packet_identifier, again);
        Ok(())
    }

    /// Handles SUBACK. Returns `true` if a caller gets a result.
    pub(super) fn handle_subscribed(&mut self, suback: Suback, events: &EventQueue) -> bool {
        match self.sent.remove(&suback.packet_identifier) {
            Some(Sent::Request(Request::Subscribe {
                subscriptions,
                properties,
                slot,
            })) => {
                for (subscription, reason_code) in
                    subscriptions.into_iter().zip(&suback.reason_codes)
                {
                    // A SUBSCRIBE with the same topic filter replaces the subscription [MQTT-3.8.4-3].
                    self.forget(&subscription.topic_filter);
                    if !reason_code.is_error() {
                        self.granted.push((subscription, properties.clone()));
                    }
                }
                slot.complete(Ok(suback.reason_codes));
                true
            }
            Some(Sent::Again(subscriptions)) => {
                let answers = subscriptions.into_iter().zip(suback.reason_codes);
                for (subscription, reason_code) in answers.filter(|(_, code)| code.is_error()) {
                    let topic_filter = subscription.topic_filter;
                    self.forget(&topic_filter);
                    events.add(ClientEvent::SubscriptionRefused {
                        topic_filter,
                        reason_code,
                    });
                }
                false
            }
            _ => false,
        }
    }

    /// Handles UNSUBACK. Returns `true` if a caller gets a result.
    pub(super) fn handle_unsubscribed(&mut self, unsuback: Suback) -> bool {
        let Some(Sent::Request(Request::Unsubscribe {
            topic_filters,
            slot,
            ..
        })) = self.sent.remove(&unsuback.packet_identifier)
        else {
            return false;
        };
        // In MQTT 3.1 and 3.1.1 UNSUBACK has no reason codes, and means success.
        let codes = unsuback.reason_codes.iter().copied().map(Some);
        let codes = codes.chain(std::iter::repeat(None));
        for (topic_filter, code) in topic_filters.iter().zip(codes) {
            if code.is_none_or(|code: ReasonCode| !code.is_error()) {
                self.forget(topic_filter);
            }
        }
        slot.complete(Ok(unsuback.reason_codes));
        true
    }

    /// Records that the connection is lost. Unanswered requests are sent again before other requests.
    pub(super) fn handle_lost(&mut self, requests: &mut VecDeque<Request>) {
        let mut unanswered: Vec<_> = self.sent.drain().collect();
        // The map has no order. Ascending packet identifiers are nearly always the order of the requests.
        unanswered.sort_by_key(|(packet_identifier, _)| *packet_identifier);
        for (_, sent) in unanswered.into_iter().rev() {
            match sent {
                Sent::Request(request) => requests.push_front(request),
                Sent::Again(_) => self.is_incomplete = true,
            }
        }
    }

    /// Completes all unanswered requests with this error.
    pub(super) fn end(&mut self, error: &SubscribeError) {
        for (_, sent) in self.sent.drain() {
            if let Sent::Request(request) = sent {
                fail(request, error);
            }
        }
    }

    fn forget(&mut self, topic_filter: &str) {
        self.granted
            .retain(|(granted, _)| *granted.topic_filter != *topic_filter);
    }
}

/// Maximum number of topic filters in a SUBSCRIBE that restores subscriptions.
const MAXIMUM_FILTERS: usize = 100;

/// Completes a request with this error.
pub(super) fn fail(request: Request, error: &SubscribeError) {
    let slot: SubscribeSlot = match request {
        Request::Subscribe { slot, .. } | Request::Unsubscribe { slot, .. } => slot,
    };
    slot.complete(Err(error.clone()));
}

fn unsendable(error: SendError) -> SubscribeError {
    match error {
        SendError::Encode(error) => SubscribeError::Encode(error),
        _ => SubscribeError::Unsupported {
            feature: "No Local in a shared subscription",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::{Connect, ProtocolVersion, QoS, SubscriptionOptions, TopicFilter};
    use mqtt_session::Config;

    /// Connects to a server that answers with this CONNACK. Returns the number of bytes that the client then sends, and
    /// the events.
    fn restore_at(
        subscriptions: &mut Subscriptions,
        version: ProtocolVersion,
        connack: &[u8],
    ) -> (usize, Vec<ClientEvent>) {
        let now = Instant::now();
        let mut connect = Connect::new(version, "c");
        connect.clean_start = false;
        let session = Some(mqtt_session::Session::default());
        let mut connection = Connection::client(&connect, session, Config::default(), now).unwrap();
        let mut input = connack;
        let mut session_present = None;
        while let Some(event) = connection.handle_input(now, &mut input) {
            if let mqtt_session::Event::Connected { connack, .. } = event {
                session_present = Some(connack.session_present);
            }
        }
        let before = connection.output().len();
        let events = EventQueue::default();
        subscriptions.handle_connected(&mut connection, session_present.unwrap(), &events);
        let events = std::iter::from_fn(|| events.receive(Some(now)));
        (connection.output().len() - before, events.collect())
    }

    /// Connects, and returns the number of bytes that the client sends after CONNACK.
    fn sent_after_connack(subscriptions: &mut Subscriptions, session_present: bool) -> usize {
        let connack = [0x20, 2, u8::from(session_present), 0];
        let (sent, events) = restore_at(subscriptions, ProtocolVersion::V3_1_1, &connack);
        assert!(events.is_empty(), "{events:?}");
        sent
    }

    fn subscription(topic_filter: &str) -> (Subscription, SubscribeProperties) {
        let subscription = Subscription {
            topic_filter: TopicFilter::new(topic_filter).unwrap(),
            options: SubscriptionOptions::new(QoS::AtMostOnce),
        };
        (subscription, SubscribeProperties::default())
    }

    #[test]
    fn reports_a_subscription_that_is_too_large_for_the_next_server() {
        let long = "t".repeat(100);
        let mut subscriptions = Subscriptions {
            granted: vec![subscription("a"), subscription(&long), subscription("b")],
            ..Subscriptions::default()
        };
        let mut requests = VecDeque::new();
        // The server has no session, and its Maximum Packet Size is 50.
        let small = [0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 50];
        let (sent, events) = restore_at(&mut subscriptions, ProtocolVersion::V5_0, &small);
        assert_eq!(sent, 2 * (2 + 2 + 1 + 3 + 1));
        let [
            ClientEvent::SubscriptionRefused {
                topic_filter,
                reason_code: ReasonCode::PacketTooLarge,
            },
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!(**topic_filter, *long);
        // The next server accepts packets of any size, and has the session, in which a subscription is missing.
        subscriptions.handle_lost(&mut requests);
        let any = [0x20, 3, 1, 0, 0];
        let (sent, events) = restore_at(&mut subscriptions, ProtocolVersion::V5_0, &any);
        assert!(sent > long.len());
        assert!(events.is_empty(), "{events:?}");
    }

    #[test]
    fn subscribes_again_only_if_the_session_lacks_subscriptions() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.granted.push(subscription("t"));
        let events = EventQueue::default();
        let mut requests = VecDeque::new();
        // The server has no session, and the connection is lost before SUBACK.
        assert!(sent_after_connack(&mut subscriptions, false) > 0);
        subscriptions.handle_lost(&mut requests);
        assert!(sent_after_connack(&mut subscriptions, true) > 0);
        subscriptions.handle_lost(&mut requests);
        // The server has lost the session again. This time it answers.
        assert!(sent_after_connack(&mut subscriptions, false) > 0);
        let packet_identifier = PacketIdentifier::new(1).unwrap();
        let suback = Suback::new(packet_identifier, vec![ReasonCode::Success]);
        subscriptions.handle_subscribed(suback, &events);
        subscriptions.handle_lost(&mut requests);
        assert_eq!(sent_after_connack(&mut subscriptions, true), 0);
    }
}
