//! [`Snapshot`]: the state that results from all mutations. When the broker starts, the store loads a snapshot, and the
//! broker restores its state from the snapshot. The simulation also makes a snapshot of a running broker, and compares
//! it with its store.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Message, PacketIdentifier, QoS, TopicFilter, Will};
use mqtt_session::{OutboundMessage, Session};

use crate::connection::Connections;
use crate::durability::mutation::ClientState;
use crate::sessions::client::{Client, Stored};
use crate::sessions::queue::Queued;
use crate::sessions::retained_replays::RetainedReplayState;
use crate::sessions::state::Sessions;
use crate::topics::names::SYSTEM;
use crate::topics::retained::Retained;
use crate::topics::state::Topics;
use crate::topics::subscriptions::SubscriptionState;

/// The whole stored state.
#[derive(Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The clients with their sessions.
    pub clients: Vec<ClientSnapshot>,
    /// The retained messages.
    pub retained: Vec<Retained>,
}

/// The stored state of a client.
#[derive(Debug, PartialEq)]
pub struct ClientSnapshot {
    /// The client identifier.
    pub identifier: String,
    /// The state of the client.
    pub state: ClientState,
    /// The subscriptions of the client.
    pub subscriptions: Vec<(TopicFilter, SubscriptionState)>,
    /// The progress of the replays of retained messages that have not ended, in the order in which they began.
    pub retained_replays: Vec<(TopicFilter, RetainedReplayState)>,
    /// The messages for the client, in ascending order of their numbers.
    pub deliveries: Vec<DeliverySnapshot>,
    /// Packet identifiers of messages of QoS 2 that the broker has accepted from the client, and for which it has not
    /// received PUBREL.
    pub held: Vec<PacketIdentifier>,
}

/// The stored delivery of a message to a client.
#[derive(Debug, PartialEq)]
pub struct DeliverySnapshot {
    /// The position of the message in the order of the client's messages.
    pub number: u64,
    /// The message. `None` after PUBREC, when only PUBREL must be sent.
    pub outgoing: Option<OutboundMessage>,
    /// The packet identifier of the message. `None` if the message was not sent yet.
    pub sent: Option<PacketIdentifier>,
}

/// Returns the state that a store has when all mutations so far are committed. Deadlines that have passed are replaced
/// by `now`.
pub(crate) fn save(
    connections: &Connections,
    sessions: &Sessions,
    topics: &Topics,
    now: Instant,
) -> Snapshot {
    let mut saved = Snapshot::default();
    for client in sessions
        .by_identifier
        .values()
        .filter_map(|key| sessions.clients.get(*key))
    {
        if client.stored > Stored::Nothing {
            saved.clients.push(save_client(connections, now, client));
        }
    }
    topics.retained.each(|retained| {
        if retained.message.topic_name.starts_with(SYSTEM) {
            return; // the broker publishes its own topics again after a restart, so they are not stored
        }
        saved.retained.push(Retained {
            message: with_retain(&retained.message, true),
            expires: retained.expires.map(|expires| expires.max(now)),
            qos: retained.qos,
            source: retained.source.clone(),
            version: retained.version,
        });
    });
    let topic_name = |retained: &Retained| retained.message.topic_name.clone();
    saved.retained.sort_by_key(topic_name);
    saved
}

/// Returns the state of a client, in the form in which the store loads it.
fn save_client(connections: &Connections, now: Instant, client: &Client) -> ClientSnapshot {
    let state = ClientState {
        session_ends: client.session_ends.map(|ends| ends.max(now)),
        will_due: client.will_due.map(|due| due.max(now)),
        ..ClientState::of(client)
    };
    let mut saved = ClientSnapshot {
        identifier: client.identifier.to_string(),
        state: ClientState {
            // A delay of zero means the same as no delay, and the store does not encode it.
            will: state.will.map(|will| Will {
                will_delay_interval: will.will_delay_interval.filter(|delay| *delay > 0),
                ..will
            }),
            ..state
        },
        subscriptions: Vec::new(),
        retained_replays: Vec::new(),
        deliveries: Vec::new(),
        held: Vec::new(),
    };
    if client.stored == Stored::Session {
        save_session(connections, now, client, &mut saved);
    }
    saved
}

/// Adds the session of a client to its snapshot: messages, held packet identifiers, subscriptions and replays.
fn save_session(
    connections: &Connections,
    now: Instant,
    client: &Client,
    saved: &mut ClientSnapshot,
) {
    let connection = client.connection.and_then(|id| connections.get(id));
    let session = match connection {
        Some(connection) => Some(connection.protocol.session()),
        None => client.session.as_deref(),
    };
    let sent = session.into_iter().flat_map(Session::sent);
    let sent = sent.filter_map(|(packet_identifier, outgoing)| {
        Some(DeliverySnapshot {
            number: *client.in_flight.get(&packet_identifier)?,
            outgoing: outgoing.map(|outgoing| as_stored(outgoing, now)),
            sent: Some(packet_identifier),
        })
    });
    let is_kept = |queued: &&Queued| queued.outgoing.qos > QoS::AtMostOnce;
    let waiting = client
        .queue
        .iter()
        .filter(is_kept)
        .map(|queued| DeliverySnapshot {
            number: queued.number,
            outgoing: Some(as_stored(&queued.outgoing, now)),
            sent: None,
        });
    saved.deliveries = sent.chain(waiting).collect();
    saved.deliveries.sort_by_key(|delivery| delivery.number); // the store loads them in this order
    saved.held = session.into_iter().flat_map(Session::held).collect();
    let subscriptions = client.subscriptions.iter();
    saved.subscriptions = subscriptions
        .map(|(topic_filter, state)| (topic_filter.clone(), *state))
        .collect();
    saved.subscriptions.sort_by(|a, b| a.0.cmp(&b.0));
    let replays = client.retained_replays.iter();
    let replays = replays.filter_map(|replay| {
        let recorded = replay.recorded.clone()?;
        Some((replay.topic_filter.clone(), recorded))
    });
    saved.retained_replays = replays.collect();
    saved
        .retained_replays
        .sort_by(|a, b| (a.1.number, &a.0).cmp(&(b.1.number, &b.0)));
}

/// Returns the delivery in the form in which the store loads it: RETAIN is a flag of the delivery and not of the
/// message, and an expiry that has passed is `now`.
fn as_stored(outgoing: &OutboundMessage, now: Instant) -> OutboundMessage {
    let stored = OutboundMessage {
        message: with_retain(&outgoing.message, false),
        ..outgoing.clone()
    };
    let expires = outgoing.expires();
    stored.with_expiry(expires.map(|expires| expires.max(now)))
}

/// Returns a copy of the message with this RETAIN flag.
fn with_retain(message: &Message, retain: bool) -> Arc<Message> {
    Arc::new(Message {
        retain,
        ..message.clone()
    })
}
