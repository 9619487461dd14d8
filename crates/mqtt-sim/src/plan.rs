//! What a seed decides before a run starts: who takes part, and which faults there are. A random
//! subset of the kinds of faults is turned on, so that rare combinations are not drowned.

use fastrand::Rng;
use mqtt_codec::ProtocolVersion;

/// The parts of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The clients; each publishes, and subscribes to all.
    pub clients: Vec<ClientPlan>,
    /// How many messages each of them publishes.
    pub messages: u64,
    /// Messages of QoS 1 and 2 that the broker sends to a client at a time.
    pub broker_window: u16,
    /// What the broker lets clients of 5.0 send at a time.
    pub broker_receive_maximum: u16,
    /// Chance of a cut for each step, in 1/10000.
    pub cuts: u32,
    /// The same for a stall, which outlasts keep alive.
    pub stalls: u32,
    /// Whether the broker often notices a cut only after the client has come back.
    pub late_closes: bool,
    /// Whether bytes often arrive one by one.
    pub tiny_pieces: bool,
    /// Steps of the stormy phase at most.
    pub steps: u64,
}

/// One client.
#[derive(Debug, Clone)]
pub struct ClientPlan {
    /// Its protocol version.
    pub version: ProtocolVersion,
    /// Whether it keeps its session.
    pub lasts: bool,
    /// Whether it starts anew with each connection.
    pub clean_start: bool,
    /// The QoS of its subscription.
    pub subscribed: u8,
    /// What it lets the broker send at a time (5.0).
    pub receive_maximum: u16,
    /// What it sends at a time.
    pub window: u16,
    /// Seconds.
    pub keep_alive: u16,
    /// Whether it has a will, and its delay in seconds.
    pub will_delay: Option<u32>,
    /// Seconds that a session of 5.0 that does not last is kept.
    pub expiry: u32,
}

/// What is left out of a plan, to find the smallest run that still fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reduction {
    /// At most so many steps of storm.
    pub steps: Option<u64>,
    /// At most so many clients.
    pub clients: Option<usize>,
    /// At most so many messages of each.
    pub messages: Option<u64>,
    /// No stalls.
    pub no_stalls: bool,
    /// No bytes one by one.
    pub no_tiny_pieces: bool,
    /// No late closes.
    pub no_late_closes: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(rng: &mut Rng) -> Self {
        let clients = (0..rng.usize(2..=4))
            .map(|_| ClientPlan::new(rng))
            .collect();
        // A tenth of the runs have no fault, a tenth very many.
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
            steps: 6000,
        }
    }

    /// The same without what the reduction leaves out.
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
        self
    }
}

impl ClientPlan {
    fn new(rng: &mut Rng) -> Self {
        use ProtocolVersion::{V3_1, V3_1_1, V5_0};
        let version = [V3_1, V3_1_1, V3_1_1, V5_0, V5_0, V5_0][rng.usize(0..6)];
        let lasts = rng.u8(0..5) > 0;
        Self {
            version,
            lasts,
            clean_start: !lasts && (version != V5_0 || rng.bool()),
            subscribed: [0, 1, 2, 2][rng.usize(0..4)],
            receive_maximum: rng.u16(1..=20),
            window: rng.u16(1..=20),
            keep_alive: [0, 5, 10, 60][rng.usize(0..4)],
            will_delay: [None, Some(0), Some(5)][rng.usize(0..3)],
            expiry: [0, 2, 30][rng.usize(0..3)],
        }
    }
}
