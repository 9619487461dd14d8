//! The steps of applications: they accept messages, publish, and change their subscriptions. The messages that they
//! accept are checked against the oracle, or against the states for retained messages.

use std::sync::Arc;

use mqtt_client::{Message, QoS};
use mqtt_codec::{MessageProperties, Property, ReasonCode, TopicName};
use mqtt_session::{OutboundMessage, PublishError};

use crate::Violation;
use crate::application::ReceivedMessage;
use crate::client::SimClient;
use crate::oracle::{Key, Traits};
use crate::plan::SMALL_PACKET;
use crate::simulation::{GROUP, Simulation};
use crate::states;
use crate::wire::{Topic, hash};

impl Simulation {
    /// Runs one step of a client's application: accepts a message, publishes one, or changes a subscription.
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

    /// Publishes a message. `key` is `None` if the message is a state. Returns `false` if the client cannot send the
    /// message now.
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

    /// Checks a message that an application has accepted.
    pub(crate) fn deliver(
        &mut self,
        index: usize,
        taken: &ReceivedMessage,
    ) -> Result<(), Violation> {
        let topic_name = &taken.topic_name[..];
        if let Some(topic) = Topic::of_name(topic_name.as_bytes()) {
            return self.deliver_state(index, topic, taken);
        }
        let subscriber = if self.clients[index].plan.is_shared {
            GROUP
        } else {
            index
        };
        // `guarantees` borrows the simulation, so the oracle is moved out of the simulation for this call.
        let mut oracle = std::mem::take(&mut self.oracle);
        let guarantees = |key| self.guarantees(subscriber, key);
        let result = oracle.delivered(
            subscriber,
            topic_name,
            &taken.payload,
            taken.qos,
            guarantees,
        );
        self.oracle = oracle;
        result
    }

    fn deliver_state(
        &mut self,
        index: usize,
        topic: Topic,
        taken: &ReceivedMessage,
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
        // Only QoS 2 between sessions that last excludes duplicates, which would repeat an older version.
        let is_exact = qos == 2 && publisher_lasts && plan.lasts && !plan.may_crash;
        let states = &mut client.application.states;
        states.learn((topic, version), !taken.retain, is_exact)
    }
}
