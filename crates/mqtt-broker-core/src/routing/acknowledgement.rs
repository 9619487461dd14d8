//! Acknowledges the messages of publishers, after they were delivered or queued for all subscribers.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Delivery, PacketIdentifier, ProtocolVersion, ReasonCode};

use crate::broker::Broker;
use crate::connection::Connections;
use crate::durability::mutation::Mutation;
use crate::durability::record;
use crate::durability::state::Durability;
use crate::keys::{ClientKey, ConnectionId};
use crate::routing::settle;

/// Acknowledges a message with PUBACK or PUBREC. If the message made mutations, the acknowledgement waits for their
/// commit: a publisher discards a message that was acknowledged, so the broker must be able to deliver it after a
/// crash.
pub(crate) fn acknowledge(
    connections: &mut Connections,
    durability: &mut Durability,
    now: Instant,
    id: ConnectionId,
    packet_identifier: PacketIdentifier,
    reason_code: ReasonCode,
    made_mutations: bool,
) {
    let Some(connection) = connections.known_mut(id) else {
        return;
    };
    let reason_code = match connection.protocol.version() {
        ProtocolVersion::V5_0 => reason_code,
        _ => ReasonCode::Success, // acknowledgements of 3.x have no reason code
    };
    connection
        .protocol
        .acknowledge(now, packet_identifier, reason_code);
    if made_mutations {
        record::hold_output(connections, durability, id);
    }
}

/// Records in the session that the broker has accepted a message of an earlier connection. If the client resends a
/// message of QoS 2, the broker recognises the duplicate by its packet identifier.
pub(crate) fn hold_identifier(broker: &mut Broker, key: ClientKey, delivery: Delivery) {
    let Some(client) = broker.sessions.clients.get_mut(key) else {
        return; // the session has ended while the publication was delivered
    };
    if let Some(id) = client.connection {
        if let Some(connection) = broker.connections.get_mut(id) {
            connection.protocol.hold_identifier(delivery);
        }
        return settle::settle(broker, id);
    }
    if let Some(session) = &mut client.session {
        session.hold_identifier(delivery);
    }
    if let Delivery::ExactlyOnce {
        packet_identifier, ..
    } = delivery
    {
        record::note(
            &mut broker.connections,
            &broker.sessions,
            &mut broker.durability,
            key,
            |client| Mutation::Held {
                client: Arc::clone(&client.identifier),
                packet_identifier,
            },
        );
    }
}
