//! [`Snapshot`]: the state that results from all mutations. The store loads a snapshot, and the broker restores it when
//! it starts. The simulation also makes a snapshot of a running broker, and compares it with its store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::{Message, PacketIdentifier, QoS, TopicFilter, Will};
use mqtt_session::{OutboundMessage, Session};

use crate::broker::Broker;
use crate::connection::Connections;
use crate::durability::mutation::ClientState;
use crate::durability::restore;
use crate::routing::retain;
use crate::sessions::client::{Client, ClientKey, Expiry, Stored, SubscriptionState};
use crate::sessions::queue::Queued;
use crate::sessions::replay::{Replay, ReplayState};
use crate::sessions::{Sessions, expiry};
use crate::topics::Topics;
use crate::topics::names::SYSTEM;
use crate::topics::retained::Retained;
use crate::topics::subscriptions::Subscriber;

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
    pub replays: Vec<(TopicFilter, ReplayState)>,
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

/// Does the work of [`Broker::restore`].
pub(crate) fn restore(broker: &mut Broker, now: Instant, mut saved: Snapshot) {
    restore::drop_too_deep(&broker.auth, &mut broker.durability, &mut saved);
    for retained in saved.retained {
        broker.topics.retained.restore(retained);
    }
    retain::await_sweep(&mut broker.topics, &mut broker.flow, &broker.resources, now);
    // All clients are restored before the first will is published, so that every subscriber of the will receives it.
    let restored: Vec<_> = saved
        .clients
        .into_iter()
        .map(|client| {
            (
                client.state.is_connected,
                restore_client(broker, now, client),
            )
        })
        .collect();
    for (was_connected, key) in restored {
        match was_connected {
            true => expiry::client_is_gone(broker, now, key),
            false => expiry::handle_client_timeout(broker, now, key),
        }
    }
}

/// Does the work of [`Broker::save`].
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
        ..client.state()
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
        replays: Vec::new(),
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
    let replays = client.replays.iter();
    let replays = replays.filter_map(|replay| {
        let recorded = replay.recorded.clone()?;
        Some((replay.topic_filter.clone(), recorded))
    });
    saved.replays = replays.collect();
    saved
        .replays
        .sort_by(|a, b| (a.1.number, &a.0).cmp(&(b.1.number, &b.0)));
}

/// Adds a client from its snapshot to the broker, with its session and its subscriptions.
fn restore_client(broker: &mut Broker, now: Instant, saved: ClientSnapshot) -> ClientKey {
    let identifier: Arc<str> = saved.identifier.into();
    let mut client = Client::new(Arc::clone(&identifier));
    client.next_number = saved.deliveries.last().map_or(0, |last| last.number + 1);
    let mut sent = Vec::new();
    for delivery in saved.deliveries {
        match (delivery.sent, delivery.outgoing) {
            (Some(packet_identifier), outgoing) => {
                client.in_flight.insert(packet_identifier, delivery.number);
                client.next_to_send = client.next_to_send.max(delivery.number + 1);
                sent.push((packet_identifier, outgoing));
            }
            (None, Some(outgoing)) => {
                let number = delivery.number;
                client.queue.push(Queued {
                    number,
                    outgoing,
                    holds: false,
                });
            }
            (None, None) => {}
        }
    }
    broker
        .stats
        .counters
        .count_queue((0, 0), client.queue.totals());
    for (topic_filter, state) in saved.replays {
        // A replay compares the numbers and versions of new messages with its own, so the counters must continue above
        // them.
        client.next_number = client.next_number.max(state.number);
        broker.topics.retained.raise_version(state.version);
        client.replays.insert(Replay {
            topic_filter,
            recorded: Some(state.clone()),
            state,
        });
    }
    client.session = Some(Box::new(Session::restore(sent, saved.held)));
    for (topic_filter, state) in &saved.subscriptions {
        client.insert_subscription(topic_filter.clone(), *state);
    }
    client.principal.user_name = saved.state.user_name;
    client.principal.listener = saved.state.listener;
    client.expiry = saved.state.expiry;
    client.will = saved.state.will.map(Box::new);
    client.stored = broker.durability.part_to_store(&client);
    // Stored deadlines depend on a clock that may have been wrong. A session must not last longer than its expiry from
    // now on, and a will must not wait longer than its delay.
    let longest = match client.expiry {
        Expiry::After(time) => now.checked_add(time),
        Expiry::WithConnection | Expiry::Never => None,
    };
    let session_ends = saved.state.session_ends;
    client.session_ends = session_ends.map(|ends| longest.map_or(ends, |most| ends.min(most)));
    let delay = |will: &Will| Duration::from_secs(will.will_delay_interval.unwrap_or(0).into());
    let latest = client.will.as_ref().map(|will| now + delay(will));
    client.will_due = saved.state.will_due.min(latest);
    let subscriptions = saved.subscriptions;
    let key = broker.sessions.clients.insert(client);
    broker.sessions.by_identifier.insert(identifier, key);
    for (topic_filter, state) in subscriptions {
        broker.stats.counters.subscribed(&topic_filter, 1);
        let subscriber = Subscriber { client: key, state };
        broker
            .topics
            .subscriptions
            .insert(topic_filter.without_share(), |subscribers| {
                subscribers.add(&topic_filter, subscriber)
            });
    }
    key
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
