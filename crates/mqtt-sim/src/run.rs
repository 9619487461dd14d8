//! Runs the simulation of a seed, and searches for the smallest run of a failing seed that still fails.

use fastrand::Rng;

use crate::{Outcome, Plan, Reduction, Simulation, Violation};

/// The sum of the results of many runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// The number of runs.
    pub runs: u64,
    /// The sum of their outcomes.
    pub total: Outcome,
}

impl Report {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.total.handshakes += outcome.handshakes;
        self.total.faulted += outcome.faulted;
        self.total.cuts += outcome.cuts;
        self.total.crashes += outcome.crashes;
        self.total.stops += outcome.stops;
        self.total.deliveries += outcome.deliveries;
        // Without the rotation the hashes of two equal runs would cancel each other.
        self.total.trace ^= outcome.trace.rotate_left((self.runs % 64) as u32);
    }
}

/// A failing run from which no further part can be left out.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The parts that are left out.
    pub reduction: Reduction,
    /// The violated invariant.
    pub violation: Violation,
}

/// Returns the plan of a seed, and the random number generator that makes all decisions during the run.
pub fn plan_of(seed: u64, with_store: bool) -> (Plan, Rng) {
    let mut rng = Rng::with_seed(seed);
    let mut plan = Plan::new(&mut rng);
    if with_store {
        plan = plan.with_store(&mut rng);
    }
    (plan, rng)
}

/// Runs the simulation of a seed.
///
/// # Errors
/// Returns the first broken invariant.
pub fn run_seed(seed: u64, with_store: bool) -> Result<Outcome, Violation> {
    run_with(seed, with_store, Reduction::default(), false).0
}

/// Runs the simulation of a seed without the parts that `reduction` leaves out. Returns the result and the trace, which
/// is empty unless `traced` is set.
pub fn run_with(
    seed: u64,
    with_store: bool,
    reduction: Reduction,
    traced: bool,
) -> (Result<Outcome, Violation>, Vec<String>) {
    let (plan, rng) = plan_of(seed, with_store);
    let plan = plan.reduced(reduction);
    let mut simulation = Simulation::new(plan, rng, traced);
    let result = simulation.run();
    (result, simulation.trace().to_vec())
}

/// Finds the parts of a failing run that can be left out while the run still fails. The shrunk run may break another
/// invariant than the whole run; the result names the invariant of the shrunk run.
pub fn shrink(seed: u64, with_store: bool, violation: Violation) -> Shrunk {
    let mut shrunk = Shrunk {
        reduction: Reduction::default(),
        violation,
    };
    let mut try_with = |change: &dyn Fn(&mut Reduction)| {
        let mut reduction = shrunk.reduction;
        change(&mut reduction);
        if let (Err(violation), _) = run_with(seed, with_store, reduction, false) {
            shrunk = Shrunk {
                reduction,
                violation,
            };
        }
    };
    try_with(&|reduction| reduction.no_stalls = true);
    try_with(&|reduction| reduction.no_tiny_pieces = true);
    try_with(&|reduction| reduction.no_late_closes = true);
    try_with(&|reduction| reduction.no_strangers = true);
    for clients in (1..4).rev() {
        try_with(&|reduction| reduction.clients = Some(clients));
    }
    for messages in [30, 20, 10, 5, 3, 2, 1] {
        try_with(&|reduction| reduction.messages = Some(messages));
    }
    // A run may pass with some number of steps and fail with fewer, because its faults stop at another point. So all
    // numbers of this series are tried, and no binary search is made.
    let mut steps = 3000;
    while steps > 10 {
        try_with(&|reduction| reduction.steps = Some(steps));
        steps = steps * 2 / 3;
    }
    shrunk
}
