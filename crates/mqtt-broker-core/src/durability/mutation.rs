//! [`Mutation`]: a change that must survive a crash of the broker. The core has no store: the caller commits all
//! mutations since the last `take_mutations` together. Output that depends on these mutations waits for the commit
//! (`commit_gate.rs`).
//!
//! Mutations are made for retained messages, for sessions that outlive their connection, and for wills. A session that
//! ends with its connection makes no mutations, so its client does not cost a sync. Its will does: the store has the
//! will from before CONNACK until the will is published or withdrawn, because the broker must publish it after a crash
//! too [MQTT-3.1.2-8].

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Message, PacketIdentifier, TopicFilter, TopicName, Will};
use mqtt_session::{Change, OutboundMessage};

use crate::connection::{ConnectionId, Connections};
use crate::durability::{Durability, commit_gate};
use crate::sessions::Sessions;
use crate::sessions::client::{Client, ClientKey, Expiry, Stored, SubscriptionState};
use crate::sessions::replay::ReplayState;
use crate::topics::retained::Retained;

/// A change that the store must apply. Mutations must be applied in the order in which they were made.
///
/// `client` is the client identifier. `number` identifies a message for this client, and messages are sent in ascending
/// order of `number`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // fields of the same name have the same meaning in every variant
pub enum Mutation {
    /// A client has connected or disconnected, and has this state now.
    Client {
        client: Arc<str>,
        state: ClientState,
    },
    /// The session of a client has ended, with everything that belongs to it.
    ClientGone { client: Arc<str> },
    /// A client has added or replaced a subscription.
    Subscribed {
        client: Arc<str>,
        topic_filter: TopicFilter,
        state: SubscriptionState,
    },
    /// A client has unsubscribed.
    Unsubscribed {
        client: Arc<str>,
        topic_filter: TopicFilter,
    },
    /// A replay of retained messages has advanced to this state, or has ended if `state` is `None`.
    Replay {
        client: Arc<str>,
        topic_filter: TopicFilter,
        state: Option<ReplayState>,
    },
    /// The broker must deliver a message to the client.
    Queued {
        client: Arc<str>,
        number: u64,
        outgoing: OutboundMessage,
    },
    /// The message was sent to the client with this packet identifier.
    Sent {
        client: Arc<str>,
        number: u64,
        packet_identifier: PacketIdentifier,
    },
    /// The client has sent PUBREC, or the broker has withdrawn the message. The message is no longer needed, but its
    /// packet identifier is in use until PUBCOMP.
    Released { client: Arc<str>, number: u64 },
    /// The delivery of the message is complete, or the message was dropped.
    Finished { client: Arc<str>, number: u64 },
    /// The broker has accepted a message of QoS 2 from the client. It remembers the packet identifier to recognise
    /// duplicates until PUBREL.
    Held {
        client: Arc<str>,
        packet_identifier: PacketIdentifier,
    },
    /// The client has sent PUBREL for a message of QoS 2, so its packet identifier is free again.
    Unheld {
        client: Arc<str>,
        packet_identifier: PacketIdentifier,
    },
    /// The retained message of a topic was replaced, or removed.
    Retained {
        topic_name: TopicName,
        retained: Option<Retained>,
    },
}

impl Mutation {
    /// Returns the application message that this mutation adds to the store.
    fn message(&self) -> Option<&Arc<Message>> {
        match self {
            Self::Queued { outgoing, .. } => Some(&outgoing.message),
            Self::Retained { retained, .. } => retained.as_ref().map(|retained| &retained.message),
            _ => None,
        }
    }
}

/// Returns the number of payload bytes in these mutations. A message for many clients counts once, because it is in
/// memory and in the store once.
pub fn payload_bytes(mutations: &[Mutation]) -> usize {
    let mut last: Option<&Arc<Message>> = None;
    let mut bytes = 0;
    for message in mutations.iter().filter_map(Mutation::message) {
        // The mutations of one message for many clients follow each other, so a comparison with the last one suffices.
        if !last.is_some_and(|last| Arc::ptr_eq(last, message)) {
            bytes += message.payload.len();
        }
        last = Some(message);
    }
    bytes
}

/// The stored state of a client, without its messages and subscriptions.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientState {
    /// The user name of the client.
    pub user_name: Option<String>,
    /// The number of the listener at which the client has last connected.
    pub listener: u32,
    /// The time for which the session outlives its connection.
    pub expiry: Expiry,
    /// The time at which the session ends. `None` while the client is connected, or if the session never expires.
    pub session_ends: Option<Instant>,
    /// Set while the client is connected.
    pub is_connected: bool,
    /// The will, until it is published or withdrawn.
    pub will: Option<Will>,
    /// The time at which the broker publishes the will. `None` while the client is connected.
    pub will_due: Option<Instant>,
}

/// Adds a mutation of a session, if the session is stored. The output of the client's connection then waits for the
/// commit.
pub(crate) fn note(
    connections: &mut Connections,
    sessions: &Sessions,
    durability: &mut Durability,
    key: ClientKey,
    mutation: impl FnOnce(&Client) -> Mutation,
) {
    note_part(
        connections,
        sessions,
        durability,
        key,
        Stored::Session,
        mutation,
    );
}

/// Adds a mutation of a client, if at least the part `least` of the client is stored.
fn note_part(
    connections: &mut Connections,
    sessions: &Sessions,
    durability: &mut Durability,
    key: ClientKey,
    least: Stored,
    mutation: impl FnOnce(&Client) -> Mutation,
) {
    if let (Some(mutations), Some(client)) = (&mut durability.mutations, sessions.clients.get(key))
    {
        if client.stored >= least {
            mutations.push(mutation(client));
            if let Some(id) = client.connection {
                commit_gate::hold_output(connections, durability, id);
            }
        }
    }
}

/// Adds the mutation with the current state of a client.
pub(crate) fn note_client(
    connections: &mut Connections,
    sessions: &Sessions,
    durability: &mut Durability,
    key: ClientKey,
) {
    note_part(
        connections,
        sessions,
        durability,
        key,
        Stored::Will,
        |client| Mutation::Client {
            client: Arc::clone(&client.identifier),
            state: client.state(),
        },
    );
}

/// Records a client that has connected. Its session expiry and its will decide which part is stored.
pub(crate) fn store_client(
    connections: &mut Connections,
    sessions: &mut Sessions,
    durability: &mut Durability,
    key: ClientKey,
) {
    let Some(client) = sessions.known(key) else {
        return;
    };
    let (before, part) = (client.stored, durability.part_to_store(client));
    let identifier = Arc::clone(&client.identifier);
    if let Some(client) = sessions.clients.get_mut(key) {
        client.stored = part;
    }
    if part < before {
        durability.note_gone(identifier);
    }
    note_client(connections, sessions, durability, key);
}

/// Adds the mutations for the exchanges of messages that have changed in a connection: packets that were sent, and
/// acknowledgements that were received.
pub(crate) fn note_changes(
    connections: &mut Connections,
    sessions: &mut Sessions,
    durability: &mut Durability,
    id: ConnectionId,
) {
    if durability.mutations.is_none() {
        return;
    }
    let Some(connection) = connections.known_mut(id) else {
        return;
    };
    // The changes are taken even if the client is not stored, so that they do not accumulate in the connection.
    let changes = connection.protocol.take_changes();
    let before = durability.mutations.as_ref().map_or(0, Vec::len);
    let Some(client) = connection
        .client
        .and_then(|key| sessions.clients.get_mut(key))
    else {
        return;
    };
    let is_stored = client.stored == Stored::Session;
    for change in changes {
        let name = Arc::clone(&client.identifier);
        let mutation = match change {
            Change::Sent(packet_identifier) => {
                client
                    .in_flight
                    .get(&packet_identifier)
                    .map(|number| Mutation::Sent {
                        client: name,
                        number: *number,
                        packet_identifier,
                    })
            }
            Change::Released(packet_identifier) => {
                let number = client.in_flight.get(&packet_identifier);
                number.map(|number| Mutation::Released {
                    client: name,
                    number: *number,
                })
            }
            Change::Finished(packet_identifier) => {
                let number = client.in_flight.remove(&packet_identifier);
                number.map(|number| Mutation::Finished {
                    client: name,
                    number,
                })
            }
            Change::Held(packet_identifier) => Some(Mutation::Held {
                client: name,
                packet_identifier,
            }),
            Change::Unheld(packet_identifier) => Some(Mutation::Unheld {
                client: name,
                packet_identifier,
            }),
        };
        if let (Some(mutations), Some(mutation), true) =
            (&mut durability.mutations, mutation, is_stored)
        {
            mutations.push(mutation);
        }
    }
    if durability.mutation_count() > before {
        commit_gate::hold_output(connections, durability, id);
    }
}

impl Client {
    /// Returns the state of the client as the store has it.
    pub(crate) fn state(&self) -> ClientState {
        ClientState {
            user_name: self.principal.user_name.clone(),
            listener: self.principal.listener,
            expiry: self.expiry,
            session_ends: self.session_ends,
            is_connected: self.connection.is_some(),
            will: self.will.as_deref().cloned(),
            will_due: self.will_due,
        }
    }
}
