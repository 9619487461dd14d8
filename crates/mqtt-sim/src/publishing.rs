//! The steps of applications: they accept messages, publish, and change their subscriptions. The messages that they
//! accept are checked against the oracle, or against the states for retained messages.

use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use mqtt_client::{Message, QoS};
use mqtt_codec::{MessageProperties, Property, ReasonCode, TopicName};
use mqtt_session::{OutboundMessage, PublishError};

use crate::Violation;
use crate::application::ReceivedMessage;
use crate::client::SimClient;
use crate::models::{GROUP, Models, guarantees};
use crate::oracle::{Key, Traits};
use crate::plan::SMALL_PACKET;
use crate::scenario::Scenario;
use crate::states::{self, States};
use crate::wire::{Topic, hash};

/// Runs one step of a client's application: accepts a message, publishes one, or changes a subscription.
pub(crate) fn step(
    scenario: &mut Scenario,
    clients: &mut [SimClient],
    models: &mut Models,
    index: usize,
) -> Result<(), Violation> {
    if let Some(taken) = clients[index].application.pending.pop_front() {
        deliver(clients, models, index, &taken)?;
        let connection = clients[index].core.connection();
        if let (Some(connection), Some(identifier)) = (connection, taken.packet_identifier) {
            connection.acknowledge(scenario.now, identifier, ReasonCode::Success);
        }
        return Ok(());
    }
    let client = &mut clients[index];
    if !client.core.is_connected() || !client.application.subscribed {
        return Ok(());
    }
    let may_toggle = client.plan.toggles && client.application.unanswered == 0 && !scenario.is_calm;
    if may_toggle && scenario.rng.u8(0..20) == 0 {
        if let Some(connection) = client.core.connection() {
            let application = &mut client.application;
            application.toggle(scenario.now, &client.plan, connection);
            scenario.note(|| format!("client {index} changes its subscription"));
        }
        return Ok(());
    }
    if client.to_publish == 0 {
        return Ok(());
    }
    if client.plan.slots > 0 && scenario.rng.bool() {
        return publish_state(scenario, client, models);
    }
    publish_message(scenario, client, models)
}

fn publish_message(
    scenario: &mut Scenario,
    client: &mut SimClient,
    models: &mut Models,
) -> Result<(), Violation> {
    let (index, qos) = (client.index, scenario.rng.u8(0..3));
    let key = Key {
        publisher: index,
        qos,
        number: client.published[usize::from(qos)],
    };
    let traits = Traits {
        is_long: scenario.rng.u8(0..8) == 0,
        expires: client.plan.expiring && scenario.rng.u8(0..3) == 0,
    };
    let outgoing = message(&mut scenario.rng, key, traits);
    let message = Arc::clone(&outgoing.message);
    if publish(scenario.now, client, outgoing, Some(key))? {
        if let Some(queues) = &mut models.queues {
            let content = hash(&message.payload, 0);
            queues.published(key, hash(message.topic_name.as_bytes(), content));
        }
        client.published[usize::from(key.qos)] += 1;
        models.oracle.accepted(key, traits);
        scenario.note(|| format!("client {index} publishes {key:?} {traits:?}"));
    }
    Ok(())
}

fn publish_state(
    scenario: &mut Scenario,
    client: &mut SimClient,
    models: &mut Models,
) -> Result<(), Violation> {
    let (index, rng) = (client.index, &mut scenario.rng);
    let topic = Topic {
        publisher: index,
        slot: rng.u8(0..client.plan.slots),
    };
    let payload = models.states.payload(topic, rng.u8(0..5) == 0);
    let topic_name = format!("r/{index}/{}", topic.slot);
    let topic_name = TopicName::new(&topic_name).expect("valid");
    let mut message = Message::new(topic_name, payload.clone());
    message.retain = true;
    let qos = QoS::from_value(states::qos(topic)).expect("below 3");
    let outgoing = OutboundMessage::new(Arc::new(message), qos);
    if publish(scenario.now, client, outgoing, None)? {
        models.states.published(topic, &payload);
        scenario.note(|| format!("client {index} publishes version {payload} of {topic:?}"));
    }
    Ok(())
}

/// Publishes a message. `key` is `None` if the message is a state. Returns `false` if the client cannot send the message
/// now.
fn publish(
    now: Instant,
    client: &mut SimClient,
    outgoing: OutboundMessage,
    key: Option<Key>,
) -> Result<bool, Violation> {
    match client.core.publish(now, outgoing) {
        Ok(packet_identifier) => {
            let in_flight = &mut client.application.in_flight;
            in_flight.extend(packet_identifier.zip(key));
            client.to_publish -= 1;
            Ok(true)
        }
        Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => Ok(false),
        Err(error) => Err(Violation::new(
            "I13",
            format!("client {} cannot publish: {error}", client.index),
        )),
    }
}

fn message(rng: &mut Rng, key: Key, traits: Traits) -> OutboundMessage {
    let topic_name = TopicName::new(&format!("t/{}", key.publisher)).expect("valid");
    let filler = if traits.is_long {
        SMALL_PACKET as usize
    } else {
        rng.usize(0..30)
    };
    let mut message = Message::new(topic_name, key.payload(filler));
    if traits.expires {
        let expiry = Property::MessageExpiryInterval(rng.u32(0..5));
        let properties = MessageProperties::new([expiry]).expect("valid");
        message.properties = Some(Box::new(properties));
    }
    let qos = QoS::from_value(key.qos).expect("below 3");
    OutboundMessage::new(Arc::new(message), qos)
}

/// Checks a message that an application has accepted.
pub(crate) fn deliver(
    clients: &mut [SimClient],
    models: &mut Models,
    index: usize,
    taken: &ReceivedMessage,
) -> Result<(), Violation> {
    let topic_name = &taken.topic_name[..];
    if let Some(topic) = Topic::of_name(topic_name.as_bytes()) {
        return deliver_state(clients, &models.states, index, topic, taken);
    }
    let subscriber = if clients[index].plan.is_shared {
        GROUP
    } else {
        index
    };
    let queues = models.queues.as_ref();
    models
        .oracle
        .delivered(subscriber, topic_name, &taken.payload, taken.qos, |key| {
            guarantees(clients, queues, subscriber, key)
        })
}

fn deliver_state(
    clients: &mut [SimClient],
    states: &States,
    index: usize,
    topic: Topic,
    taken: &ReceivedMessage,
) -> Result<(), Violation> {
    let publisher_lasts = |client: &SimClient| client.plan.lasts;
    let publisher_lasts = clients.get(topic.publisher).is_some_and(publisher_lasts);
    let client = &mut clients[index];
    let (plan, qos) = (&client.plan, states::qos(topic).min(client.plan.subscribed));
    let Some(version) = Topic::version(&taken.payload).filter(|_| taken.qos == qos) else {
        let what = format!(
            "{topic:?} came with QoS {} as {:?}",
            taken.qos, taken.payload
        );
        return Err(Violation::new("I3", what));
    };
    states.delivered(topic, version)?;
    // Only QoS 2 between sessions that last excludes duplicates, which would repeat an older version.
    let is_exact = qos == 2 && publisher_lasts && plan.lasts && !plan.may_crash;
    let known = &mut client.application.states;
    known.learn((topic, version), !taken.retain, is_exact)
}
