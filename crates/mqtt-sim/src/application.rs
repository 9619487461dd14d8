//! The application of a client: its subscriptions, and the messages that it has received and published. A slow
//! application accepts a message some steps after the message arrived. `publishing.rs` decides when an application
//! acts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use mqtt_client::QoS;
use mqtt_codec::{
    PacketIdentifier, ProtocolVersion, ReasonCode, SubscribeProperties, Subscription,
    SubscriptionOptions, TopicFilter, UnsubscribeProperties,
};
use mqtt_session::{Connection, Event};

use crate::oracle::Key;
use crate::plan::ClientPlan;
use crate::states::{self, Known};

/// The subscriptions of a client, and the messages that it has received.
#[derive(Debug, Default)]
pub(crate) struct Application {
    /// Set once the first SUBACK has arrived.
    pub(crate) subscribed: bool,
    /// The number of SUBSCRIBE and UNSUBSCRIBE packets without an answer on this connection.
    pub(crate) unanswered: usize,
    /// Set while the application has unsubscribed from the states.
    pub(crate) is_unsubscribed: bool,
    pub(crate) states: Known,
    /// Messages that were received and not accepted yet.
    pub(crate) pending: VecDeque<ReceivedMessage>,
    /// Messages that were accepted in this step.
    pub(crate) got: Vec<ReceivedMessage>,
    /// Published messages in flight.
    pub(crate) in_flight: BTreeMap<PacketIdentifier, Key>,
    /// Messages in flight of lost sessions. The client core resends them under other packet identifiers.
    resent: Vec<Key>,
}

/// A copy of a message that was received. The event that carried the message borrows from the input.
#[derive(Debug)]
pub(crate) struct ReceivedMessage {
    pub(crate) packet_identifier: Option<PacketIdentifier>,
    pub(crate) topic_name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

impl Application {
    pub(crate) fn handle_event(
        &mut self,
        now: Instant,
        plan: &ClientPlan,
        connection: &mut Connection,
        event: &Event<'_>,
    ) {
        match event {
            Event::Connected { connack, .. } => {
                let is_resumed = match plan.version {
                    ProtocolVersion::V3_1 => !plan.clean_start, // 3.1 has no Session Present
                    _ => connack.session_present,
                };
                if !is_resumed {
                    let lost = std::mem::take(&mut self.in_flight);
                    self.resent.extend(lost.into_values());
                }
                self.handle_connected(now, plan, connection, is_resumed);
            }
            Event::Subscribed(_) => {
                self.subscribed = true;
                self.unanswered = self.unanswered.saturating_sub(1);
            }
            Event::Delivered {
                packet_identifier, ..
            } => drop(self.in_flight.remove(packet_identifier)),
            Event::Unsubscribed(_) => self.unanswered = self.unanswered.saturating_sub(1),
            Event::Message(received) => {
                let publish = received.publish();
                let taken = ReceivedMessage {
                    packet_identifier: publish.delivery.packet_identifier(),
                    topic_name: publish.topic_name.to_owned(),
                    payload: publish.payload.to_vec(),
                    qos: publish.delivery.qos() as u8,
                    retain: publish.retain,
                };
                match taken.packet_identifier {
                    Some(_) if plan.is_slow => self.pending.push_back(taken),
                    Some(packet_identifier) => {
                        self.got.push(taken);
                        connection.acknowledge(now, packet_identifier, ReasonCode::Success);
                    }
                    None => self.got.push(taken),
                }
            }
            _ => {}
        }
    }

    /// Handles the death of the process. Returns the messages that the process had published and that were not
    /// acknowledged.
    pub(crate) fn crash(&mut self) -> Vec<Key> {
        self.pending.clear();
        let in_flight = std::mem::take(&mut self.in_flight);
        let resent = std::mem::take(&mut self.resent);
        in_flight.into_values().chain(resent).collect()
    }

    fn handle_connected(
        &mut self,
        now: Instant,
        plan: &ClientPlan,
        connection: &mut Connection,
        is_resumed: bool,
    ) {
        let was_answered = std::mem::take(&mut self.unanswered) == 0 && self.subscribed;
        // A session that may expire can be new although Session Present is set, because the CONNACK of the new session
        // may have been lost. The application of such a session always subscribes again, and the broker then sends all
        // states again.
        if !is_resumed || !plan.lasts {
            self.states.forget();
        }
        if plan.subscribes_once && is_resumed && was_answered {
            return;
        }
        let filter = if plan.is_shared {
            "$share/g/t/+"
        } else {
            "t/+"
        };
        let states = plan.states && !self.is_unsubscribed;
        let filters = [Some(filter), states.then_some(states::FILTER)];
        self.subscribe(now, plan, connection, filters.into_iter().flatten());
        // The last connection may have been lost before the broker read its UNSUBSCRIBE.
        if self.is_unsubscribed {
            self.unsubscribe(now, connection);
        }
    }

    /// Subscribes to the states, or unsubscribes from them.
    pub(crate) fn toggle(&mut self, now: Instant, plan: &ClientPlan, connection: &mut Connection) {
        self.is_unsubscribed = !self.is_unsubscribed;
        self.states.has_toggled = true;
        if self.is_unsubscribed {
            self.unsubscribe(now, connection)
        } else {
            self.subscribe(now, plan, connection, [states::FILTER])
        }
    }

    fn subscribe<'a>(
        &mut self,
        now: Instant,
        plan: &ClientPlan,
        connection: &mut Connection,
        filters: impl IntoIterator<Item = &'a str>,
    ) {
        let qos = QoS::from_value(plan.subscribed).expect("below 3");
        let subscriptions = filters.into_iter().map(|filter| Subscription {
            topic_filter: TopicFilter::new(filter).expect("valid"),
            options: SubscriptionOptions::new(qos),
        });
        self.unanswered += 1;
        // `subscribe` fails only if the connection is lost. The application subscribes again on the next connection.
        let _ = connection.subscribe(now, subscriptions.collect(), SubscribeProperties::default());
    }

    fn unsubscribe(&mut self, now: Instant, connection: &mut Connection) {
        let filter = TopicFilter::new(states::FILTER).expect("valid");
        self.unanswered += 1;
        let _ = connection.unsubscribe(now, vec![filter], UnsubscribeProperties::default());
    }
}
