//! Decides if a connection has to wait before the broker handles its next packet, and when the connection may resume.
//!
//! `must_wait` checks all reasons to wait: the password of the client is being checked, the publication of the
//! connection is still being delivered, the queue of a subscriber is filling up (`backpressure.rs`), the peer does not
//! read its output, or the store is behind. `handle_input` then returns
//! [`InputProgress::Blocked`](crate::InputProgress), and [`Broker::poll_resumable`] returns the connection when it may
//! resume. The next `handle_input` checks all reasons again, so a connection that is returned too early only costs one
//! call.

use std::collections::VecDeque;
use std::time::Instant;

use mqtt_codec::PacketType;

use crate::broker::Broker;
use crate::connection::{ConnectionId, ConnectionState, Connections};
use crate::durability::Durability;
use crate::durability::mutation::{Mutation, payload_bytes};
use crate::flow::Flow;
use crate::limits::Backlog;
use crate::resources::Resources;
use crate::routing::fan_out;
use crate::sessions::Sessions;
use crate::sessions::client::{ClientKey, Stored};

/// Maximum number of control packets that are handled while the output of their connection is full, until the peer
/// reads again. The number is limited because each packet may add a small answer to the output.
const MAXIMUM_UNANSWERED: u16 = 1000;

/// The state of the commits, and the connections that may resume.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// The mutations that `take_mutations` has returned and that are not durable.
    taken: Backlog,
    /// The part of `taken` that the commit in progress makes durable.
    committing: Backlog,
    /// The payload bytes of the first `counted` mutations that were not taken yet. Each mutation is counted once, so
    /// that a look at the backlog before each packet stays cheap.
    own_bytes: usize,
    /// The number of mutations that `own_bytes` includes.
    counted: usize,
    /// The number of the newest commit that has begun.
    begun: u64,
    /// The number of the newest commit that is done.
    done: u64,
    /// Connections that make no more mutations until a commit is done.
    awaiting_commit: Vec<ConnectionId>,
    /// Connections that may resume, in the order in which `poll_resumable` returns them.
    pub(crate) resumable: VecDeque<ConnectionId>,
    /// Publishers that have filled the queue of a subscriber: the end of the pause, the publisher, and the subscriber.
    pub(crate) throttled_publishers: Vec<(Instant, ConnectionId, ClientKey)>,
}

/// How far the store is behind, compared with the soft and the hard limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// The backlog is below both limits: no connection waits.
    None,
    /// Connections with uncommitted mutations must not make more mutations.
    Soft,
    /// No connection may make more mutations.
    Hard,
}

impl Throttle {
    /// Moves the mutations that were counted to `taken`, because `take_mutations` returns them now.
    pub(crate) fn take_counted(&mut self) {
        self.taken.mutations += self.counted;
        self.taken.bytes += self.own_bytes;
        (self.counted, self.own_bytes) = (0, 0);
    }

    /// Begins the next commit, which makes all mutations in `taken` durable.
    pub(crate) fn begin_commit(&mut self) {
        self.begun += 1;
        self.committing = self.taken;
    }

    /// Ends the commit in progress, and subtracts its mutations from the backlog.
    pub(crate) fn end_commit(&mut self) {
        self.done = self.begun;
        let committed = std::mem::take(&mut self.committing);
        // `set_backlog` may have lowered `taken` during the commit, so the subtraction must not underflow.
        self.taken.mutations = self.taken.mutations.saturating_sub(committed.mutations);
        self.taken.bytes = self.taken.bytes.saturating_sub(committed.bytes);
    }

    /// Returns the number of the commit that will contain the mutations that are added now.
    pub(crate) fn next_commit(&self) -> u64 {
        self.begun + 1
    }

    /// Returns the time at which the first pause of a publisher ends.
    pub(crate) fn first_backpressure_end(&self) -> Option<Instant> {
        self.throttled_publishers
            .iter()
            .map(|(until, ..)| *until)
            .min()
    }

    /// Counts the mutations that were added since the last call.
    fn count(&mut self, mutations: &[Mutation]) {
        let new = mutations.get(self.counted..).unwrap_or_default();
        self.own_bytes += payload_bytes(new);
        self.counted = mutations.len();
    }
}

/// Does the work of [`Broker::set_backlog`].
pub(crate) fn set_backlog(connections: &mut Connections, flow: &mut Flow, backlog: Backlog) {
    flow.throttle.taken = backlog;
    resume_after_commit(connections, flow);
}

/// Does the work of [`Broker::backlog`]. Counts the new mutations first.
pub(crate) fn backlog(durability: &Durability, flow: &mut Flow) -> Backlog {
    if let Some(mutations) = &durability.mutations {
        flow.throttle.count(mutations);
    }
    Backlog {
        mutations: flow.throttle.taken.mutations + flow.throttle.counted,
        bytes: flow.throttle.taken.bytes + flow.throttle.own_bytes,
    }
}

/// Compares the backlog with the soft and the hard limit. A broker without a store has no pressure.
pub(crate) fn pressure(
    durability: &Durability,
    flow: &mut Flow,
    resources: &Resources,
) -> Pressure {
    if durability.mutations.is_none() {
        return Pressure::None;
    }
    let backlog = backlog(durability, flow);
    if backlog.reaches(resources.limits.maximum_commit_backlog) {
        Pressure::Hard
    } else if backlog.reaches(resources.limits.commit_backlog) {
        Pressure::Soft
    } else {
        Pressure::None
    }
}

/// Adds the connection to the list that `poll_resumable` returns.
pub(crate) fn resume(connections: &mut Connections, flow: &mut Flow, id: ConnectionId) {
    if let Some(connection) = connections.get_mut(id) {
        if !std::mem::replace(&mut connection.is_resumable, true) {
            flow.throttle.resumable.push_back(id);
        }
    }
}

/// Resumes all connections that wait for a commit. Before its next packet, `must_wait` checks each of them again.
pub(crate) fn resume_after_commit(connections: &mut Connections, flow: &mut Flow) {
    for id in std::mem::take(&mut flow.throttle.awaiting_commit) {
        if let Some(connection) = connections.get_mut(id) {
            connection.awaits_commit_room = false;
        }
        resume(connections, flow, id);
    }
}

/// Returns `true` if the connection must wait before the broker handles the packet at the front of `input`. When the
/// reason has ended, `poll_resumable` returns the connection.
pub(crate) fn must_wait(broker: &mut Broker, now: Instant, id: ConnectionId, input: &[u8]) -> bool {
    let maximum_unwritten = broker.resources.limits.maximum_unwritten;
    let Some(connection) = broker.connections.known_mut(id) else {
        return false;
    };
    // A connection that has ended discards its input, so nothing has to wait.
    if connection.protocol.has_ended() {
        return false;
    }
    if connection.waiting.is_some() || connection.is_publishing {
        return true; // resumed by `handle_checked`, or by the acknowledgement after the last slice
    }
    if connection.throttled_until.is_some_and(|until| now < until) {
        return true; // resumed by `end_backpressure`
    }
    let Some(first) = input.first() else {
        return false;
    };
    if connection.protocol.output().len() >= maximum_unwritten {
        // The connection resumes when the peer has read. Acknowledgements and pings are handled meanwhile: without its
        // acknowledgements the broker would resend messages after a reconnect, and without its pings the keep alive
        // would expire. PUBLISH, SUBSCRIBE and UNSUBSCRIBE wait.
        if brings_work(*first) || connection.unanswered >= MAXIMUM_UNANSWERED {
            connection.awaits_output_room = true;
            return true;
        }
        connection.unanswered += 1;
    }
    if broker.flow.fan_outs.has_any()
        && is(*first, PacketType::Publish)
        && fan_out::has_orphan_of(&broker.connections, &broker.flow, id)
    {
        return true; // resumed when the publication is delivered
    }
    broker.durability.mutations.is_some() && must_wait_for_commit(broker, id, *first)
}

/// Returns `true` if a packet with this first byte may make mutations, but the connection must not make more of them
/// before a commit is done.
fn must_wait_for_commit(broker: &mut Broker, id: ConnectionId, first: u8) -> bool {
    let pressure = pressure(&broker.durability, &mut broker.flow, &broker.resources);
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
    let pressure = pressure(&broker.durability, &mut broker.flow, &broker.resources);
    let done = broker.flow.throttle.done;
    let Some(connection) = broker.connections.known_mut(id) else {
        return false;
    };
    // Above the soft limit, only connections whose mutations are not durable yet have to wait. Above the hard limit
    // every connection has to wait before it makes mutations. Without the hard limit, memory would grow with the number
    // of connections, and without bound while the disk is full.
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
        // `upgrade_outgoing_qos` raises its QoS. On a full disk the broker rejects messages of QoS 1 and 2 and retains
        // nothing, so a PUBLISH makes no mutation and need not wait.
        Some(PacketType::Publish) => {
            !resources.lacks_storage() && (first & 0x07 != 0 || resources.limits.upgrade_qos)
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

/// Marks the connection as one with uncommitted mutations, if mutations were added since their number was `before`.
pub(crate) fn note_mutations_of(
    connections: &mut Connections,
    durability: &Durability,
    flow: &Flow,
    id: ConnectionId,
    before: usize,
) {
    if durability.mutation_count() > before {
        let commit = flow.throttle.next_commit();
        if let Some(connection) = connections.get_mut(id) {
            connection.mutated_in = commit;
        }
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
    let is_deaf = connection.unanswered >= MAXIMUM_UNANSWERED;
    connection.unanswered = 0;
    let has_room = connection.protocol.output().len() < maximum_unwritten;
    if connection.awaits_output_room && (has_room || is_deaf) {
        connection.awaits_output_room = false;
        resume(connections, flow, id);
    }
}

impl ConnectionState {
    /// Returns `true` if the broker may not have handled all bytes that the peer has sent. Then the keep alive must not
    /// end the connection, because an unread packet may be its PINGREQ.
    pub(crate) fn is_unread(&self) -> bool {
        self.progress != crate::InputProgress::Drained
    }
}

/// Returns `true` if the first byte of a packet has this packet type in its upper four bits.
fn is(first: u8, packet_type: PacketType) -> bool {
    PacketType::from_value(first >> 4) == Some(packet_type)
}

/// Returns `true` for PUBLISH, SUBSCRIBE and UNSUBSCRIBE, whose answer or effect may be large.
fn brings_work(first: u8) -> bool {
    is(first, PacketType::Publish)
        || is(first, PacketType::Subscribe)
        || is(first, PacketType::Unsubscribe)
}
