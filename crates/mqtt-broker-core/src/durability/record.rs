//! Records the mutations of clients and connections, and holds back the output that depends on them.

use std::sync::Arc;

use mqtt_session::Change;

use crate::connection::Connections;
use crate::durability::mutation::{ClientState, Mutation};
use crate::durability::state::Durability;
use crate::keys::{ClientKey, ConnectionId};
use crate::sessions::client::{Client, Stored};
use crate::sessions::state::Sessions;

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
            // The client must not see the effect of a mutation that a crash could undo.
            if let Some(id) = client.connection {
                hold_output(connections, durability, id);
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
            state: ClientState::of(client),
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
    // The store has more of this client than it must keep now, so the entries of the client are removed. `note_client`
    // then adds the new will, if there is one.
    if part < before {
        durability.note_client_removed(identifier);
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
        return; // CONNECT was not accepted, or the connection has ended
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
                // The packet identifier is free now, and may soon belong to another message.
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
        hold_output(connections, durability, id);
    }
}

/// Holds back the output of this connection until the next commit, because the output depends on mutations that the
/// caller adds in the same turn. Output that is covered by a commit in progress does not wait longer.
pub(crate) fn hold_output(
    connections: &mut Connections,
    durability: &mut Durability,
    id: ConnectionId,
) {
    if let Some(connection) = connections.get_mut(id) {
        if connection.commit_gate.get_or_insert_default().begin() {
            durability.waiters.next.push(id);
        }
    }
}
