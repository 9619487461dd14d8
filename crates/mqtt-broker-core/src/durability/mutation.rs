//! [`Mutation`]: a change that has to survive a crash of the broker. The core knows no store. The caller of the core
//! makes all mutations since the last `take_mutations` durable in one commit. Output that depends on these mutations
//! waits for this commit (`commit_gate.rs`).
//!
//! Sessions that outlive their connection are recorded, with their messages of QoS 1 and 2. If the session ends with
//! the connection, only the will is recorded, from before CONNACK until the will is published or withdrawn.
//! [MQTT-3.1.2-8] lets the broker publish the will later, after a restart, but does not let it drop the will.

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

/// A change. `client` is a client identifier. `number` identifies a message for the client. Messages are sent in
/// ascending order of `number`.
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
    /// The progress of a replay of retained messages, or its end.
    Replay {
        client: Arc<str>,
        topic_filter: TopicFilter,
        state: Option<ReplayState>,
    },
    /// A message waits for a client.
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
    /// The client has sent PUBREC, or the broker has given up the message. The packet identifier is still in use.
    Released { client: Arc<str>, number: u64 },
    /// The delivery of the message is complete.
    Finished { client: Arc<str>, number: u64 },
    /// The broker accepted a QoS 2 message from the client, and remembers its packet identifier to detect duplicates.
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
    fn message(&self) -> Option<&Arc<Message>> {
        match self {
            Self::Queued { outgoing, .. } => Some(&outgoing.message),
            Self::Retained { retained, .. } => retained.as_ref().map(|retained| &retained.message),
            _ => None,
        }
    }
}

/// Returns the bytes of the payloads of these mutations. A message for many clients is in memory and in the store once,
/// and counts once.
pub fn payload_bytes(mutations: &[Mutation]) -> usize {
    let mut last: Option<&Arc<Message>> = None;
    let mut bytes = 0;
    for message in mutations.iter().filter_map(Mutation::message) {
        // The deliveries of a message come one after the other.
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
    /// The number of the listener where the client has last connected.
    pub listener: u32,
    /// The time for which the session outlives its connection.
    pub expiry: Expiry,
    /// The end of the session; `None` while the client is connected, or if the session never expires.
    pub session_ends: Option<Instant>,
    /// Set while the client is connected.
    pub is_connected: bool,
    /// The will, if it was neither published nor withdrawn.
    pub will: Option<Will>,
    /// The time at which the will is published, after the client has disconnected.
    pub will_due: Option<Instant>,
}

/// Adds a mutation of a session, if the session is stored.
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

/// Adds a mutation of a client, if at least this part of it is stored.
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

/// Adds the mutations for the changes in the exchanges of a connection.
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
