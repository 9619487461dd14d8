//! Decides if a connection has to wait before the broker handles its next packet.
//!
//! `must_wait` checks all reasons to wait: the password of the client is being checked, the publication of the
//! connection is still being delivered, the queue of a subscriber is filling up (`flow/backpressure.rs`), the peer does
//! not read its output, or too many mutations wait for a commit. `handle_input` then returns
//! [`InputProgress::Blocked`](crate::InputProgress), and [`Broker::poll_resumable`] returns the connection when it may
//! resume (`flow/throttle.rs`). The next `handle_input` checks all reasons again, so a connection that is returned too
//! early only costs one call.

use std::time::Instant;

use mqtt_codec::PacketType;

use crate::broker::Broker;
use crate::connection::Connections;
use crate::flow::state::Flow;
use crate::flow::throttle::Pressure;
use crate::keys::ConnectionId;
use crate::resources::Resources;
use crate::sessions::client::Stored;
use crate::sessions::state::Sessions;

/// Maximum number of control packets that are handled while the output of their connection is full, until the peer
/// reads again. The number is limited because each packet may add a small answer to the output.
const MAXIMUM_UNANSWERED: u16 = 1000;

/// Returns `true` if the connection must wait before the broker handles the packet at the front of `input`. When the
/// reason has ended, `poll_resumable` returns the connection.
pub(crate) fn must_wait(broker: &mut Broker, now: Instant, id: ConnectionId, input: &[u8]) -> bool {
    let maximum_unwritten = broker.resources.limits.maximum_unwritten;
    let Some(connection) = broker.connections.known_mut(id) else {
        return false;
    };
    // A connection that has ended discards its input, so it need not wait.
    if connection.protocol.has_ended() {
        return false;
    }
    if connection.pending_connect.is_some() || connection.is_publishing {
        return true; // resumed by `handle_checked`, or by the acknowledgement after the last slice
    }
    if connection.throttled_until.is_some_and(|until| now < until) {
        return true; // resumed by `end_backpressure`
    }
    let Some(first) = input.first() else {
        return false; // no packet has begun
    };
    if connection.protocol.output().len() >= maximum_unwritten {
        // The connection resumes when the peer has read. Acknowledgements and pings of the peer are handled meanwhile.
        // Otherwise the broker would resend acknowledged messages after a reconnect, and the keep alive would expire.
        // PUBLISH, SUBSCRIBE and UNSUBSCRIBE wait.
        if has_large_effect(*first) || connection.unanswered >= MAXIMUM_UNANSWERED {
            connection.awaits_output_room = true;
            return true;
        }
        connection.unanswered += 1;
    }
    if broker.flow.fan_outs.has_any()
        && has_type(*first, PacketType::Publish)
        && broker.flow.fan_outs.has_orphan_of(&broker.connections, id)
    {
        return true; // resumed when the publication is delivered
    }
    broker.durability.mutations.is_some() && must_wait_for_commit(broker, id, *first)
}

/// Returns `true` if a packet with this first byte may make mutations, but the connection must not make more of them
/// before a commit is done.
fn must_wait_for_commit(broker: &mut Broker, id: ConnectionId, first: u8) -> bool {
    let pressure = broker
        .flow
        .throttle
        .pressure(&broker.durability, &broker.resources);
    // `is_throttled` comes last, because it adds the connection to those that wait.
    pressure > Pressure::None
        && may_mutate(
            &broker.connections,
            &broker.sessions,
            &broker.resources,
            id,
            first,
        )
        && is_throttled(broker, id)
}

/// Returns `true` if the connection must make no more mutations before a commit is done. The connection then resumes
/// after that commit.
pub(crate) fn is_throttled(broker: &mut Broker, id: ConnectionId) -> bool {
    let pressure = broker
        .flow
        .throttle
        .pressure(&broker.durability, &broker.resources);
    let done = broker.flow.throttle.done;
    let Some(connection) = broker.connections.known_mut(id) else {
        return false;
    };
    // At the soft limit, only connections whose mutations are not durable yet have to wait. At the hard limit, every
    // connection has to wait before it makes mutations. Without the hard limit, memory would grow with the number of
    // connections, and without bound while the disk is full.
    let is_throttled = match pressure {
        Pressure::None => false,
        Pressure::Soft => connection.mutated_in > done,
        Pressure::Hard => true,
    };
    if is_throttled && !std::mem::replace(&mut connection.awaits_commit_room, true) {
        broker.flow.throttle.awaiting_commit.push(id);
    }
    is_throttled
}

/// Returns `true` if the broker may make mutations for a packet with this first byte.
fn may_mutate(
    connections: &Connections,
    sessions: &Sessions,
    resources: &Resources,
    id: ConnectionId,
    first: u8,
) -> bool {
    let connection = connections.get(id);
    let client = connection.and_then(|connection| sessions.clients.get(connection.client?));
    let is_stored = client.is_some_and(|client| client.stored == Stored::Session);
    match PacketType::from_value(first >> 4) {
        // The lower three bits are QoS and RETAIN. A message with QoS 0 and without RETAIN is not stored, unless
        // `upgrade_outgoing_qos` raises its QoS. While storage is exhausted, the broker rejects messages of QoS 1 and 2
        // and retains nothing. Without `upgrade_outgoing_qos`, a PUBLISH can then only remove a retained message. So it
        // need not wait.
        Some(PacketType::Publish) => {
            !resources.is_storage_exhausted() && (first & 0x07 != 0 || resources.limits.upgrade_qos)
        }
        Some(
            PacketType::Puback
            | PacketType::Pubrec
            | PacketType::Pubrel
            | PacketType::Pubcomp
            | PacketType::Subscribe
            | PacketType::Unsubscribe,
        ) => is_stored,
        _ => false,
    }
}

/// Handles that the peer has read some of its output. Resumes the connection if it waited for room in the output.
pub(crate) fn note_written(
    connections: &mut Connections,
    flow: &mut Flow,
    resources: &Resources,
    id: ConnectionId,
) {
    let maximum_unwritten = resources.limits.maximum_unwritten;
    let Some(connection) = connections.known_mut(id) else {
        return;
    };
    // A connection that waits because of `MAXIMUM_UNANSWERED` resumes when the peer reads anything, even if the output
    // is still full: its next packet may be an acknowledgement or a ping.
    let was_limited = connection.unanswered >= MAXIMUM_UNANSWERED;
    connection.unanswered = 0;
    let has_room = connection.protocol.output().len() < maximum_unwritten;
    if connection.awaits_output_room && (has_room || was_limited) {
        connection.awaits_output_room = false;
        flow.throttle.resume(connections, id);
    }
}

/// Returns `true` if the first byte of a packet has this packet type in its upper four bits.
fn has_type(first: u8, packet_type: PacketType) -> bool {
    PacketType::from_value(first >> 4) == Some(packet_type)
}

/// Returns `true` for PUBLISH, SUBSCRIBE and UNSUBSCRIBE, whose answer or effect may be large.
fn has_large_effect(first: u8) -> bool {
    has_type(first, PacketType::Publish)
        || has_type(first, PacketType::Subscribe)
        || has_type(first, PacketType::Unsubscribe)
}
