//! The plan of a run: its clients, its limits and the chances of its faults. The seed decides the whole plan before the
//! run starts. Each run has only a random subset of the kinds of features and faults (`Kinds`), so that a rare
//! combination is not hidden by all the other faults.

use fastrand::Rng;
use mqtt_broker_core::{Backlog, Limits};
use mqtt_codec::ProtocolVersion;

/// The Maximum Packet Size of the clients that announce a small one. Short messages have at most 30 bytes of filler and
/// fit; long messages have this number of bytes of filler and do not fit.
pub(crate) const SMALL_PACKET: u32 = 120;

/// The plan of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The clients. Each client publishes, and subscribes to the messages of all clients.
    pub clients: Vec<ClientPlan>,
    /// The number of messages that each client publishes.
    pub messages: u64,
    /// The maximum number of messages of QoS 1 and 2 in flight from the broker to a client.
    pub broker_window: u16,
    /// The Receive Maximum that the broker sends to clients of 5.0.
    pub broker_receive_maximum: u16,
    /// The chance that a step cuts a link, in 1/10000.
    pub cuts: u32,
    /// The chance that a step stalls a link, in 1/10000. A stall may outlast the keep alive.
    pub stalls: u32,
    /// Set if the broker often notices a cut only after the client has reconnected.
    pub late_closes: bool,
    /// Set if bytes often arrive one by one.
    pub tiny_pieces: bool,
    /// Small limits of the broker's work in a turn, if the run has them.
    pub budget: Option<Budget>,
    /// Maximum number of messages that wait for a client at the broker, if there is a limit.
    pub queue_limit: Option<usize>,
    /// The maximum number of topic aliases that the broker assigns to a client.
    pub topic_aliases: u16,
    /// The chance that a client or the broker sends an acknowledgement of an unknown packet identifier, each time it
    /// sends bytes, in 1/100.
    pub spurious: u8,
    /// The number of hostile peers, which break the rules of MQTT.
    pub hostile_peers: usize,
    /// The chance that a client sends DISCONNECT in a step, in 1/10000.
    pub leaves: u32,
    /// Set if the broker has a store: the chance that a step kills the broker, in 1/10000, and the chance that the disk
    /// fails during a commit, in 1/1000.
    pub store: Option<(u32, u32)>,
    /// The chance that a step stops a broker with a store gracefully, in 1/10000.
    pub stops: u32,
    /// The chance that a commit is still in progress when the broker wants to write output, in 1/100.
    pub slow_store: u8,
    /// The chance that a step kills the process of a client, if the client may crash (`ClientPlan::may_crash`), in
    /// 1/10000.
    pub crashes: u32,
    /// Maximum number of steps with faults.
    pub steps: u64,
}

/// A client of the run.
#[derive(Debug, Clone)]
pub struct ClientPlan {
    /// The protocol version.
    pub version: ProtocolVersion,
    /// Set if the session of the client outlives its connections.
    pub lasts: bool,
    /// Set if the client asks for a clean start with each connection.
    pub clean_start: bool,
    /// The QoS of the client's subscription.
    pub subscribed: u8,
    /// The Receive Maximum that the client sends (5.0).
    pub receive_maximum: u16,
    /// The maximum number of messages in flight from the client.
    pub window: u16,
    /// The number of packet identifiers that the client uses for messages. The number is small, so that the client soon
    /// reuses identifiers.
    pub identifiers: u16,
    /// The keep alive in seconds.
    pub keep_alive: u16,
    /// The will delay in seconds, if the client has a will.
    pub will_delay: Option<u32>,
    /// The Maximum Packet Size that the client announces (5.0). The broker does not deliver longer messages to the
    /// client.
    pub maximum_packet_size: Option<u32>,
    /// The Topic Alias Maximum that the client sends.
    pub topic_alias_maximum: u16,
    /// The maximum number of topic aliases that the client assigns.
    pub topic_aliases: u16,
    /// Set if the subscription is shared: each message goes to one of the clients that share it.
    pub is_shared: bool,
    /// Set if the application waits before it accepts a message.
    pub is_slow: bool,
    /// Set if the process of the client may die. The new process has only the client identifier of the old one, and no
    /// session state.
    pub may_crash: bool,
    /// Set if some messages of the client expire.
    pub expiring: bool,
    /// The Session Expiry Interval in seconds, for a client of 5.0 that does not keep its session.
    pub expiry: u32,
    /// Set if the client subscribes to states, which are retained messages (see `states.rs`).
    pub states: bool,
    /// The number of topics to which the client publishes states.
    pub slots: u8,
    /// Set if the client does not subscribe again when its session is resumed.
    pub subscribes_once: bool,
    /// Set if the client sometimes unsubscribes from the states and subscribes again.
    pub toggles: bool,
}

/// Small limits of the broker: the work of a turn, and the output and the mutations that may wait.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The units of work that the broker may do for a connection in a turn.
    pub work: usize,
    /// The number of bytes of output that may wait for a peer.
    pub unwritten: usize,
    /// The number of mutations that may wait for a commit.
    pub backlog: usize,
}

impl Budget {
    fn new(rng: &mut Rng) -> Self {
        Self {
            // With one or two units a publication to all clients is delivered in slices.
            work: [1, 1, 2, 2, 3, 5, 20][rng.usize(0..7)],
            unwritten: rng.usize(100..1000),
            backlog: rng.usize(3..40),
        }
    }

    /// Returns `limits` with the values of this budget.
    pub(crate) fn limit(&self, limits: Limits) -> Limits {
        let backlog = |mutations| Backlog {
            mutations,
            bytes: usize::MAX,
        };
        Limits {
            work_per_connection: self.work,
            work_per_turn: 2 * self.work,
            maximum_unwritten: self.unwritten,
            commit_backlog: backlog(self.backlog),
            maximum_commit_backlog: backlog(2 * self.backlog),
            ..limits
        }
    }
}

/// The parts that are left out of a plan. [`shrink`](crate::shrink) uses reductions to find the smallest run that still
/// fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reduction {
    /// Maximum number of steps with faults.
    pub steps: Option<u64>,
    /// Maximum number of clients.
    pub clients: Option<usize>,
    /// Maximum number of messages of each client.
    pub messages: Option<u64>,
    /// Leaves out stalls.
    pub no_stalls: bool,
    /// Leaves out pieces of a few bytes.
    pub no_tiny_pieces: bool,
    /// Leaves out ends of connections that the broker notices late.
    pub no_late_closes: bool,
    /// Leaves out crashes of clients, clients that send DISCONNECT, acknowledgements of unknown identifiers, and
    /// hostile peers.
    pub no_strangers: bool,
}

impl Plan {
    /// Makes a random plan without a store.
    pub fn new(rng: &mut Rng) -> Self {
        let kinds = Kinds::new(rng);
        let clients = (0..rng.usize(2..=4))
            .map(|_| ClientPlan::new(rng, &kinds))
            .collect();
        // A tenth of the runs has no cuts and stalls, and a tenth has very many.
        let (cuts, stalls) = match rng.u8(0..10) {
            0 => (0, 0),
            1 => (400, 20),
            _ => (
                rng.u32(20..200),
                if rng.bool() { rng.u32(1..10) } else { 0 },
            ),
        };
        Self {
            clients,
            messages: rng.u64(5..60),
            broker_window: rng.u16(1..=20),
            broker_receive_maximum: rng.u16(1..=20),
            cuts,
            stalls,
            late_closes: rng.bool(),
            tiny_pieces: rng.bool(),
            budget: kinds.budget.then(|| Budget::new(rng)),
            queue_limit: kinds.limited.then(|| rng.usize(1..8)),
            topic_aliases: [0, 1, 3][rng.usize(0..3)],
            spurious: if kinds.spurious { rng.u8(1..20) } else { 0 },
            hostile_peers: if kinds.hostile { rng.usize(1..=2) } else { 0 },
            leaves: if cuts > 0 && kinds.leaves {
                rng.u32(5..50)
            } else {
                0
            },
            store: None,
            stops: 0,
            slow_store: 0,
            crashes: if kinds.crashes && cuts > 0 {
                rng.u32(5..50)
            } else {
                0
            },
            steps: 6000,
        }
    }

    /// Adds a store and crashes of the broker to the plan.
    #[must_use]
    pub fn with_store(mut self, rng: &mut Rng) -> Self {
        let faults = if rng.bool() { rng.u32(1..50) } else { 0 };
        self.queue_limit = None; // a crash would reset the counter of dropped messages
        if self.budget.is_none() && rng.bool() {
            self.budget = Some(Budget::new(rng));
        }
        // A fifth of the runs has graceful stops only, and no crashes or disk failures. The checkers then require that
        // nothing is lost, not even a state of QoS 0.
        let (crashes, faults) = match rng.u8(0..5) {
            0 => (0, 0),
            _ => (rng.u32(5..60), faults),
        };
        self.store = Some((crashes, faults));
        self.stops = if crashes == 0 || rng.bool() {
            rng.u32(5..40)
        } else {
            0
        };
        self.slow_store = match (rng.u8(0..4), &self.budget) {
            (0, Some(_)) => 98, // mutations pile up
            (0 | 1, _) => 0,
            _ => rng.u8(1..95),
        };
        self.messages = self.messages.min(30);
        self
    }

    /// Returns the plan without the parts that the reduction leaves out.
    #[must_use]
    pub fn reduced(mut self, reduction: Reduction) -> Self {
        self.steps = reduction.steps.unwrap_or(self.steps).min(self.steps);
        self.messages = reduction
            .messages
            .unwrap_or(self.messages)
            .min(self.messages);
        self.clients
            .truncate(reduction.clients.unwrap_or(self.clients.len()).max(1));
        if reduction.no_stalls {
            self.stalls = 0;
        }
        self.tiny_pieces &= !reduction.no_tiny_pieces;
        self.late_closes &= !reduction.no_late_closes;
        if reduction.no_strangers {
            (self.spurious, self.hostile_peers, self.crashes, self.leaves) = (0, 0, 0, 0);
        }
        self
    }
}

/// The kinds of features and faults that a run has. Each field is set at random.
struct Kinds {
    small_packets: bool,
    aliases: bool,
    shared: Option<u8>,
    slow: bool,
    crashes: bool,
    expiring: bool,
    spurious: bool,
    hostile: bool,
    leaves: bool,
    states: bool,
    limited: bool,
    budget: bool,
}

impl Kinds {
    fn new(rng: &mut Rng) -> Self {
        let kinds = Self::any(rng);
        if !kinds.limited {
            return kinds;
        }
        // `Queues` counts each message that does not arrive as dropped by a full queue. So a run with
        // a queue limit has no other feature that keeps a message from its subscriber.
        Self {
            small_packets: false,
            shared: None,
            expiring: false,
            states: false,
            // `Queues` compares the turns of the broker. With a small budget the broker may queue a message some turns
            // after it has read it.
            budget: false,
            ..kinds
        }
    }

    fn any(rng: &mut Rng) -> Self {
        Self {
            small_packets: rng.u8(0..4) == 0,
            aliases: rng.bool(),
            // All members of the group subscribe with this QoS, because the oracle treats the group as one subscriber.
            shared: (rng.u8(0..4) == 0).then(|| rng.u8(0..3)),
            slow: rng.u8(0..3) == 0,
            crashes: rng.u8(0..4) == 0,
            expiring: rng.u8(0..4) == 0,
            spurious: rng.u8(0..4) == 0,
            hostile: rng.u8(0..4) == 0,
            leaves: rng.u8(0..3) == 0,
            states: rng.u8(0..3) == 0,
            limited: rng.u8(0..6) == 0,
            budget: rng.u8(0..4) == 0,
        }
    }
}

impl ClientPlan {
    fn new(rng: &mut Rng, kinds: &Kinds) -> Self {
        use ProtocolVersion::{V3_1, V3_1_1, V5_0};
        let version = [V3_1, V3_1_1, V3_1_1, V5_0, V5_0, V5_0][rng.usize(0..6)];
        let shared = kinds.shared.filter(|_| rng.bool());
        // The members of a shared subscription keep their sessions. The models do not cover a member whose session
        // ends.
        let lasts = shared.is_some() || rng.u8(0..5) > 0;
        let is_v5 = version == V5_0;
        let may_crash = kinds.crashes && lasts && shared.is_none() && rng.bool();
        Self {
            version,
            lasts,
            clean_start: !lasts && (version != V5_0 || rng.bool()),
            subscribed: shared.unwrap_or_else(|| [0, 1, 2, 2][rng.usize(0..4)]),
            maximum_packet_size: (kinds.small_packets && is_v5 && shared.is_none() && rng.bool())
                .then_some(SMALL_PACKET),
            topic_alias_maximum: if kinds.aliases { rng.u16(0..4) } else { 0 },
            topic_aliases: if kinds.aliases { rng.u16(0..4) } else { 0 },
            is_shared: shared.is_some(),
            is_slow: kinds.slow && rng.bool(),
            may_crash,
            expiring: kinds.expiring && is_v5 && rng.bool(),
            receive_maximum: rng.u16(1..=20),
            window: rng.u16(1..=20),
            identifiers: [2, 3, 8, 40][rng.usize(0..4)],
            keep_alive: [0, 5, 10, 60][rng.usize(0..4)],
            will_delay: [None, Some(0), Some(5)][rng.usize(0..3)],
            expiry: [0, 2, 30][rng.usize(0..3)],
            states: kinds.states,
            // A client that may lose its newest message does not publish states, because the final state would be
            // unknown.
            slots: if kinds.states && lasts && !may_crash {
                rng.u8(1..10)
            } else {
                0
            },
            // Without a session that lasts, or without Session Present (3.1), a client cannot rely on its old
            // subscriptions.
            subscribes_once: kinds.states && lasts && !may_crash && version != V3_1 && rng.bool(),
            toggles: kinds.states && rng.bool(),
        }
    }
}
