//! The program above a client: it subscribes, publishes, and takes messages over, immediately or when it
//! likes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use mqtt_client::{Message, QoS};
use mqtt_codec::{
    MessageProperties, PacketIdentifier, Property, ProtocolVersion, ReasonCode,
    SubscribeProperties, Subscription, SubscriptionOptions, TopicFilter, TopicName,
    UnsubscribeProperties,
};
use mqtt_session::{Connection, Event, OutboundMessage, PublishError};

use crate::Violation;
use crate::client::SimClient;
use crate::oracle::{Key, Traits};
use crate::plan::{ClientPlan, SMALL_PACKET};
use crate::simulation::{GROUP, Simulation};
use crate::states::{self, Known};
use crate::wire::{Topic, hash};

/// The subscriptions of a client, and the messages that it has received.
#[derive(Debug, Default)]
pub(crate) struct Application {
    /// Set once its first SUBSCRIBE was answered.
    pub(crate) subscribed: bool,
    /// The number of its requests that were not answered.
    pub(crate) unanswered: usize,
    /// Set while it does not want the states.
    pub(crate) is_unsubscribed: bool,
    pub(crate) states: Known,
    /// Messages that it has and has not taken over.
    pub(crate) pending: VecDeque<Taken>,
    /// Messages that it took over just now.
    pub(crate) got: Vec<Taken>,
    /// Messages that it published and that are not finished.
    in_flight: BTreeMap<PacketIdentifier, Key>,
    /// Messages of lost sessions, which are sent again under other identifiers.
    resent: Vec<Key>,
}

/// A message.
#[derive(Debug)]
pub(crate) struct Taken {
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
                    ProtocolVersion::V3_1 => !plan.clean_start, // there it is not told
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
                let taken = Taken {
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

    /// The process has died. Returns the messages that it had not finished.
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
        // A session that may expire can be another one than the client believes. All states come again.
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
        if self.is_unsubscribed {
            self.unsubscribe(now, connection);
        }
    }

    /// Subscribes to the states, or ends that subscription.
    fn toggle(&mut self, now: Instant, plan: &ClientPlan, connection: &mut Connection) {
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
        // Cannot fail but for the connection, and then the next one subscribes.
        let _ = connection.subscribe(now, subscriptions.collect(), SubscribeProperties::default());
    }

    fn unsubscribe(&mut self, now: Instant, connection: &mut Connection) {
        let filter = TopicFilter::new(states::FILTER).expect("valid");
        self.unanswered += 1;
        let _ = connection.unsubscribe(now, vec![filter], UnsubscribeProperties::default());
    }
}

impl Simulation {
    /// The application of a client takes a message over, publishes one, or changes its subscriptions.
    pub(crate) fn application(&mut self, index: usize) -> Result<(), Violation> {
        let client = &mut self.clients[index];
        if let Some(taken) = client.application.pending.pop_front() {
            self.deliver(index, &taken)?;
            let connection = self.clients[index].core.connection();
            if let (Some(connection), Some(identifier)) = (connection, taken.packet_identifier) {
                connection.acknowledge(self.now, identifier, ReasonCode::Success);
            }
            return Ok(());
        }
        if !client.core.is_connected() || !client.application.subscribed {
            return Ok(());
        }
        let may_toggle = client.plan.toggles && client.application.unanswered == 0 && !self.is_calm;
        if may_toggle && self.rng.u8(0..20) == 0 {
            if let Some(connection) = client.core.connection() {
                let application = &mut client.application;
                application.toggle(self.now, &client.plan, connection);
                self.note(|| format!("client {index} changes its subscription"));
            }
            return Ok(());
        }
        if client.to_publish == 0 {
            return Ok(());
        }
        if client.plan.slots > 0 && self.rng.bool() {
            return self.publish_state(index);
        }
        self.publish_message(index)
    }

    fn publish_message(&mut self, index: usize) -> Result<(), Violation> {
        let qos = self.rng.u8(0..3);
        let client = &self.clients[index];
        let key = Key {
            publisher: index,
            qos,
            number: client.published[usize::from(qos)],
        };
        let traits = Traits {
            is_long: self.rng.u8(0..8) == 0,
            expires: client.plan.expiring && self.rng.u8(0..3) == 0,
        };
        let outgoing = self.message(key, traits);
        let message = Arc::clone(&outgoing.message);
        if self.publish(index, outgoing, Some(key))? {
            if let Some(queues) = &mut self.queues {
                let content = hash(&message.payload, 0);
                queues.published(key, hash(message.topic_name.as_bytes(), content));
            }
            self.clients[index].published[usize::from(key.qos)] += 1;
            self.oracle.accepted(key, traits);
            self.note(|| format!("client {index} publishes {key:?} {traits:?}"));
        }
        Ok(())
    }

    fn publish_state(&mut self, index: usize) -> Result<(), Violation> {
        let topic = Topic {
            publisher: index,
            slot: self.rng.u8(0..self.clients[index].plan.slots),
        };
        let payload = self.states.payload(topic, self.rng.u8(0..5) == 0);
        let topic_name = format!("r/{index}/{}", topic.slot);
        let topic_name = TopicName::new(&topic_name).expect("valid");
        let mut message = Message::new(topic_name, payload.clone());
        message.retain = true;
        let qos = QoS::from_value(states::qos(topic)).expect("below 3");
        let outgoing = OutboundMessage::new(Arc::new(message), qos);
        if self.publish(index, outgoing, None)? {
            self.states.published(topic, &payload);
            self.note(|| format!("client {index} publishes version {payload} of {topic:?}"));
        }
        Ok(())
    }

    /// Gives a message to the client; it has a key unless it is a state. Returns `false` if it cannot be sent now.
    fn publish(
        &mut self,
        index: usize,
        outgoing: OutboundMessage,
        key: Option<Key>,
    ) -> Result<bool, Violation> {
        let client = &mut self.clients[index];
        match client.core.publish(self.now, outgoing) {
            Ok(packet_identifier) => {
                let in_flight = &mut client.application.in_flight;
                in_flight.extend(packet_identifier.zip(key));
                client.to_publish -= 1;
                Ok(true)
            }
            Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => Ok(false),
            Err(error) => Err(Violation::new(
                "I13",
                format!("client {index} cannot publish: {error}"),
            )),
        }
    }

    fn message(&mut self, key: Key, traits: Traits) -> OutboundMessage {
        let topic_name = TopicName::new(&format!("t/{}", key.publisher)).expect("valid");
        let filler = if traits.is_long {
            SMALL_PACKET as usize
        } else {
            self.rng.usize(0..30)
        };
        let mut message = Message::new(topic_name, key.payload(filler));
        if traits.expires {
            let expiry = Property::MessageExpiryInterval(self.rng.u32(0..5));
            let properties = MessageProperties::new([expiry]).expect("valid");
            message.properties = Some(Box::new(properties));
        }
        let qos = QoS::from_value(key.qos).expect("below 3");
        OutboundMessage::new(Arc::new(message), qos)
    }

    /// The application has taken a message over.
    pub(crate) fn deliver(&mut self, index: usize, taken: &Taken) -> Result<(), Violation> {
        let topic_name = &taken.topic_name[..];
        if let Some(topic) = Topic::of_name(topic_name.as_bytes()) {
            return self.deliver_state(index, topic, taken);
        }
        let subscriber = if self.clients[index].plan.is_shared {
            GROUP
        } else {
            index
        };
        let mut oracle = std::mem::take(&mut self.oracle);
        let promise = |key| self.promise(subscriber, key);
        let result = oracle.delivered(subscriber, topic_name, &taken.payload, taken.qos, promise);
        self.oracle = oracle;
        result
    }

    fn deliver_state(
        &mut self,
        index: usize,
        topic: Topic,
        taken: &Taken,
    ) -> Result<(), Violation> {
        let publisher_lasts = |client: &SimClient| client.plan.lasts;
        let publisher_lasts = self
            .clients
            .get(topic.publisher)
            .is_some_and(publisher_lasts);
        let client = &mut self.clients[index];
        let (plan, qos) = (&client.plan, states::qos(topic).min(client.plan.subscribed));
        let Some(version) = Topic::version(&taken.payload).filter(|_| taken.qos == qos) else {
            let what = format!(
                "{topic:?} came with QoS {} as {:?}",
                taken.qos, taken.payload
            );
            return Err(Violation::new("I3", what));
        };
        self.states.delivered(topic, version)?;
        let is_exact = qos == 2 && publisher_lasts && plan.lasts && !plan.may_crash;
        let states = &mut client.application.states;
        states.learn((topic, version), !taken.retain, is_exact)
    }
}
