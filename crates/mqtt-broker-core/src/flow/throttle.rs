//! Decides whether a connection has to wait before its next packet is handled, and when it resumes.
//!
//! All reasons to wait are here: the peer does not read its output, the store is behind, a password is being checked,
//! the connection's own publication is still being delivered, or a subscriber cannot keep up (`backpressure.rs`). The
//! caller learns of it by [`InputProgress::Blocked`](crate::InputProgress) and asks [`Broker::poll_resumable`] for the
//! connections that may resume. The reason is decided again when the connection is handled again, so naming a
//! connection too early costs one call and nothing else.

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

/// Control packets that are handled while the output of their connection is full. Each may add a small answer to the
/// output, so that the number must be limited until the peer reads again.
const MAXIMUM_UNANSWERED: u16 = 1000;

/// The state of the commits, and the connections that may resume.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// The mutations that were taken and are not durable, as the commit queue reports them.
    taken: Backlog,
    /// The part of `taken` that the commit in progress makes durable.
    committing: Backlog,
    /// The bytes of the first mutations that were not taken.
    own_bytes: usize,
    /// The number of the mutations that `own_bytes` includes.
    counted: usize,
    /// The number of the newest commit that has begun.
    begun: u64,
    /// The number of the newest commit that is done.
    done: u64,
    /// Connections that wait for a commit.
    awaiting_commit: Vec<ConnectionId>,
    pub(crate) resumable: VecDeque<ConnectionId>,
    /// Publishers that have filled the queue of a subscriber, and the time until which they wait.
    pub(crate) throttled_publishers: Vec<(Instant, ConnectionId, ClientKey)>,
}

/// The degree to which the store is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// All connections are served.
    None,
    /// Connections with uncommitted mutations make no more of them.
    Soft,
    /// No connection may make more mutations.
    Hard,
}

impl Throttle {
    /// Records that the mutations were taken for a commit. The commit queue reports them from now on.
    pub(crate) fn take_counted(&mut self) {
        self.taken.mutations += self.counted;
        self.taken.bytes += self.own_bytes;
        (self.counted, self.own_bytes) = (0, 0);
    }

    pub(crate) fn begin_commit(&mut self) {
        self.begun += 1;
        self.committing = self.taken;
    }

    pub(crate) fn end_commit(&mut self) {
        self.done = self.begun;
        let committed = std::mem::take(&mut self.committing);
        self.taken.mutations = self.taken.mutations.saturating_sub(committed.mutations);
        self.taken.bytes = self.taken.bytes.saturating_sub(committed.bytes);
    }

    /// Returns the number of the commit that will contain the mutations that are added now.
    pub(crate) fn next_commit(&self) -> u64 {
        self.begun + 1
    }

    pub(crate) fn first_backpressure_end(&self) -> Option<Instant> {
        self.throttled_publishers
            .iter()
            .map(|(until, ..)| *until)
            .min()
    }

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

/// Does the work of [`Broker::backlog`].
pub(crate) fn backlog(durability: &Durability, flow: &mut Flow) -> Backlog {
    if let Some(mutations) = &durability.mutations {
        flow.throttle.count(mutations);
    }
    Backlog {
        mutations: flow.throttle.taken.mutations + flow.throttle.counted,
        bytes: flow.throttle.taken.bytes + flow.throttle.own_bytes,
    }
}

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

/// Puts the connection into the list of those that may resume.
pub(crate) fn resume(connections: &mut Connections, flow: &mut Flow, id: ConnectionId) {
    if let Some(connection) = connections.get_mut(id) {
        if !std::mem::replace(&mut connection.is_resumable, true) {
            flow.throttle.resumable.push_back(id);
        }
    }
}

/// Resumes all connections that wait for a commit. Each decides again whether it still has to wait.
pub(crate) fn resume_after_commit(connections: &mut Connections, flow: &mut Flow) {
    for id in std::mem::take(&mut flow.throttle.awaiting_commit) {
        if let Some(connection) = connections.get_mut(id) {
            connection.awaits_commit_room = false;
        }
        resume(connections, flow, id);
    }
}

/// Returns `true` if the connection must wait before a packet with this start is handled. The connection will be
/// named by `poll_resumable` then.
pub(crate) fn must_wait(broker: &mut Broker, now: Instant, id: ConnectionId, input: &[u8]) -> bool {
    let maximum_unwritten = broker.resources.limits.maximum_unwritten;
    let Some(connection) = broker.connections.known_mut(id) else {
        return false;
    };
    if connection.protocol.has_ended() {
        return false;
    }
    if connection.waiting.is_some() || connection.is_publishing {
        return true; // resumed by the answer
    }
    if connection.throttled_until.is_some_and(|until| now < until) {
        return true; // resumed by `end_backpressure`
    }
    let Some(first) = input.first() else {
        return false;
    };
    if connection.protocol.output().len() >= maximum_unwritten {
        // The connection resumes when the peer has read. Acknowledgements and pings are handled meanwhile. Otherwise
        // the peer would get the same messages again, or its keep alive would expire.
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

/// Returns `true` if a packet with this first byte may add mutations while the store is behind.
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

/// Returns `true` if the connection must make no more mutations before a commit is done, and registers it for that.
pub(crate) fn is_throttled(broker: &mut Broker, id: ConnectionId) -> bool {
    let pressure = pressure(&broker.durability, &mut broker.flow, &broker.resources);
    let done = broker.flow.throttle.done;
    let Some(connection) = broker.connections.known_mut(id) else {
        return false;
    };
    // Above the soft limit only the connections that fill the store wait for it; all others are served. Above the hard
    // limit no connection may add mutations, so that memory stays bounded however many connections there are, and while
    // the disk is full.
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
        // A message without QoS and RETAIN is not stored. On a full disk the broker refuses messages of QoS 1 and 2,
        // and retains nothing, so nothing is stored either.
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

/// Notes whether mutations were made for this connection since there were `before` of them.
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

/// Notes that the peer has read some of its output, and resumes the connection if it waited for that.
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
    let is_deaf = connection.unanswered >= MAXIMUM_UNANSWERED;
    connection.unanswered = 0;
    let has_room = connection.protocol.output().len() < maximum_unwritten;
    if connection.awaits_output_room && (has_room || is_deaf) {
        connection.awaits_output_room = false;
        resume(connections, flow, id);
    }
}

impl ConnectionState {
    /// Returns `true` if bytes of the peer may wait unread. Its silence is no reason to end the connection then.
    pub(crate) fn is_unread(&self) -> bool {
        self.progress != crate::InputProgress::Drained
    }
}

fn is(first: u8, packet_type: PacketType) -> bool {
    PacketType::from_value(first >> 4) == Some(packet_type)
}

/// Returns `true` for packets whose answer or effect may be large.
fn brings_work(first: u8) -> bool {
    is(first, PacketType::Publish)
        || is(first, PacketType::Subscribe)
        || is(first, PacketType::Unsubscribe)
}
