//! [`BrokerHost`]: the machine of the broker, with the real broker core, a real store on a simulated disk, and the
//! clocks of the machine. `restart.rs` restarts this machine together with the models of the checks.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mqtt_broker::{BootTime, Clock, Store};
use mqtt_broker_core::{Broker, Limits, Mutation, Retained, Snapshot};
use mqtt_client::{Message, QoS};
use mqtt_codec::TopicName;

use crate::Violation;
use crate::disk::SimDisk;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::wills::Observer;

/// The number of mutations by which a commit may exceed the limit of the backlog. They come from packets that the
/// broker was already handling, and from connections that ended.
const ABOVE_BACKLOG: usize = 16;

/// The machine of the broker.
pub(crate) struct BrokerHost {
    pub(crate) broker: Broker,
    store: Option<SimStore>,
    /// Set while the broker stops gracefully. Connections that end during this time do not end sessions or publish
    /// wills.
    pub(crate) is_stopping: bool,
    /// The number of connections that the broker has accepted.
    pub(crate) accepted: u64,
    /// The number of crashes of the broker.
    pub(crate) crashes: u64,
    /// The number of graceful stops of the broker.
    pub(crate) stops: u64,
}

/// The end of a commit.
pub(crate) enum CommitEnd {
    /// The mutations are durable, or there were none.
    Durable,
    /// The store has failed during commit number `turn`. This commit may or may not be durable.
    Failed { turn: u64, power_loss: bool },
}

impl BrokerHost {
    /// Creates the broker of the plan, with its store if it has one.
    pub(crate) fn new(plan: &Plan, now: Instant) -> Self {
        let mut broker = broker(plan);
        let store = plan.store.is_some().then(|| SimStore::new(now));
        if store.is_some() {
            broker.record_mutations();
            broker.restore(now, Snapshot::default());
        }
        Self {
            broker,
            store,
            is_stopping: false,
            accepted: 0,
            crashes: 0,
            stops: 0,
        }
    }

    /// Begins a commit, unless one is in progress. Returns `true` if the models must record their state now.
    pub(crate) fn begin_commit(&mut self, plan: &Plan) -> Result<bool, Violation> {
        let Some(sim_store) = &mut self.store else {
            return Ok(false);
        };
        if sim_store.committing.is_some() {
            return Ok(false);
        }
        let mut mutations = self.broker.take_mutations();
        if mutations.is_empty() && self.broker.has_mutations() {
            return Ok(false); // the mutations belong to a publication whose delivery is not finished
        }
        check_backlog(plan, mutations.len())?;
        if !mutations.is_empty() {
            mutations.push(turn_record(sim_store.turn));
            sim_store.committing = Some(mutations);
            self.broker.begin_commit();
        }
        Ok(true)
    }

    /// Finishes the commit in progress. The disk may fail during the commit.
    pub(crate) fn end_commit(&mut self, scenario: &mut Scenario) -> Result<CommitEnd, Violation> {
        let Some(sim_store) = &mut self.store else {
            return Ok(CommitEnd::Durable);
        };
        let clock = sim_store.system.clock(scenario.now);
        let Some(mutations) = sim_store.committing.take() else {
            return Ok(CommitEnd::Durable);
        };
        let (_, faults) = scenario.plan.store.unwrap_or_default();
        if !scenario.is_calm && scenario.rng.u32(0..1000) < faults {
            sim_store.disk.fail_after(scenario.rng.u32(0..30));
        }
        let turn = sim_store.turn;
        sim_store.turn += 1;
        let store = sim_store.store.as_mut();
        if store.is_none_or(|store| store.commit(&mutations, clock).is_err()) {
            let power_loss = scenario.rng.bool();
            scenario.note(|| "the store has failed".to_owned());
            return Ok(CommitEnd::Failed { turn, power_loss });
        }
        self.broker.end_commit();
        // Comparing the whole store is slow, so only every 16th commit is compared.
        if turn % 16 == 0 && !self.broker.has_mutations() {
            self.check_store(scenario.now)?;
        }
        Ok(CommitEnd::Durable)
    }

    /// Checks that the store equals the state of the broker (I15).
    pub(crate) fn check_store(&self, now: Instant) -> Result<(), Violation> {
        let Some(sim_store) = &self.store else {
            return Ok(());
        };
        let Some(store) = &sim_store.store else {
            return Ok(());
        };
        let broken = |what: String| Violation::new("I15", what);
        // A planned failure must hit the broker, not this check, so the failure is postponed.
        let failure = sim_store.disk.postpone_failure();
        let saved = store.load(sim_store.system.clock(now));
        sim_store.disk.set_failure(failure);
        let mut saved = saved.map_err(|error| broken(with_cause(&error)))?;
        saved
            .retained
            .retain(|retained| &*retained.message.topic_name != TURN);
        let mut known = self.broker.save(now);
        known
            .retained
            .retain(|retained| &*retained.message.topic_name != TURN);
        if saved != known {
            let differs = saved
                .clients
                .iter()
                .zip(&known.clients)
                .find(|(a, b)| a != b);
            return Err(broken(format!(
                "the store differs from the broker: {differs:?}"
            )));
        }
        Ok(())
    }

    /// Opens the store again after the process has ended, and loads its content (I15).
    pub(crate) fn reopen(
        &mut self,
        scenario: &mut Scenario,
        observer: &mut Observer,
        power_loss: bool,
    ) -> Result<Snapshot, Violation> {
        let Some(sim_store) = &mut self.store else {
            return Ok(Snapshot::default());
        };
        if power_loss {
            sim_store.disk.lose_power(&mut scenario.rng)
        } else {
            sim_store.disk.kill()
        }
        observer.time_passes(scenario.now);
        // Some time passes before the broker is started again.
        scenario.now += Duration::from_millis(scenario.rng.u64(0..3000));
        sim_store.system.goes_down(power_loss, &mut scenario.rng);
        let clock = sim_store.system.clock(scenario.now);
        let disk = sim_store.disk.clone();
        let open = || {
            let store = Store::with_backend(disk.clone(), clock);
            store.map_err(|error| Violation::new("I15", with_cause(&error)))
        };
        let load = |store: &Store| {
            let saved = store.load(clock);
            saved.map_err(|error| Violation::new("I15", with_cause(&error)))
        };
        // A process that was killed writes nothing, so the old store must not write when it is dropped.
        disk.fail_after(0);
        sim_store.store = None;
        disk.mend();
        // Recovery writes to the file. It must not change the content, so the store is opened twice and compared.
        let first = load(&open()?)?;
        let store = open()?;
        let second = load(&store)?;
        sim_store.store = Some(store);
        if first != second {
            return Err(Violation::new(
                "I15",
                "opened twice, the store has other content",
            ));
        }
        Ok(second)
    }

    /// Replaces the broker by a new one with the loaded content.
    pub(crate) fn restart(&mut self, plan: &Plan, now: Instant, saved: Snapshot) {
        if let Some(sim_store) = &mut self.store {
            sim_store.committing = None;
        }
        let mut broker = broker(plan);
        broker.record_mutations();
        broker.restore(now, saved);
        self.broker = broker;
    }

    pub(crate) fn has_store(&self) -> bool {
        self.store.is_some()
    }
}

/// Checks that the broker has recorded no more mutations than it may before a commit (I22).
fn check_backlog(plan: &Plan, mutations: usize) -> Result<(), Violation> {
    let Some(budget) = &plan.budget else {
        return Ok(());
    };
    let maximum = 2 * budget.backlog + ABOVE_BACKLOG;
    if mutations > maximum {
        let what = format!("{mutations} mutations wait for a commit, where {maximum} may");
        return Err(Violation::new("I22", what));
    }
    Ok(())
}

/// A store on a simulated disk.
struct SimStore {
    /// The disk, which outlives the store.
    disk: SimDisk,
    /// `None` while the broker is down.
    store: Option<Store>,
    /// The number of the next commit. Each commit writes this number to a retained message without subscribers
    /// (`turn_record`). So after a failed commit the store shows whether the commit is durable.
    turn: u64,
    /// The mutations of the commit in progress.
    committing: Option<Vec<Mutation>>,
    system: System,
}

/// The topic name of the turn record. No client subscribes to it.
const TURN: &str = "turn";

impl SimStore {
    fn new(now: Instant) -> Self {
        let disk = SimDisk::default();
        let system = System::new(now);
        let store = Store::with_backend(disk.clone(), system.clock(now)).expect("an empty disk");
        Self {
            disk,
            store: Some(store),
            turn: 1,
            committing: None,
            system,
        }
    }
}

/// Creates a broker with the limits of the plan and without content.
fn broker(plan: &Plan) -> Broker {
    let limits = Limits {
        maximum_in_flight: plan.broker_window,
        receive_maximum: plan.broker_receive_maximum,
        maximum_queued: plan.queue_limit.unwrap_or(usize::MAX),
        topic_aliases: plan.topic_aliases,
        ..Limits::default()
    };
    let limits = match &plan.budget {
        Some(budget) => budget.limit(limits),
        None => limits,
    };
    // A counter instead of random numbers, so that the seed alone decides the run.
    let mut identifiers = 0;
    let random = move || {
        identifiers += 1;
        identifiers
    };
    Broker::new(limits, Box::new(random))
}

/// The clocks of the broker's system.
#[derive(Debug, Clone, Copy)]
struct System {
    /// The time when the simulation began.
    start: Instant,
    /// The wall clock at that time.
    wall: SystemTime,
    /// The number of boots of the system.
    boots: u128,
}

impl System {
    fn new(start: Instant) -> Self {
        Self {
            start,
            // A day in 2033, because the store does not trust a wall clock that is earlier than the build of the
            // program.
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000),
            boots: 1,
        }
    }

    /// Returns the clocks as the broker would read them at this instant.
    fn clock(&self, now: Instant) -> Clock {
        let elapsed = now - self.start;
        Clock {
            now,
            wall: self.wall + elapsed,
            boot: Some(BootTime {
                id: self.boots,
                elapsed,
            }),
        }
    }

    /// Changes the clocks while the broker is down. If the machine stays up, the wall clock is set to another time,
    /// which must have no effect because the boot is the same. After a loss of power the machine boots, and only the
    /// wall clock continues.
    fn goes_down(&mut self, power_loss: bool, rng: &mut fastrand::Rng) {
        if power_loss {
            self.boots += 1
        } else {
            let seconds = rng.u64(1_900_000_000..2_100_000_000);
            self.wall = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        }
    }
}

/// Returns the mutation that writes the number of a commit to the store.
fn turn_record(turn: u64) -> Mutation {
    let topic_name = TopicName::new(TURN).expect("valid");
    let message = Message::new(topic_name.clone(), turn.to_string());
    let retained = Some(Retained {
        source: None,
        message: Arc::new(message),
        qos: QoS::AtMostOnce,
        expires: None,
        version: 0,
    });
    Mutation::Retained {
        topic_name,
        retained,
    }
}

/// Returns the number of the newest commit in the store.
pub(crate) fn turn_of(saved: &Snapshot) -> Option<u64> {
    let of_turn = |retained: &&Retained| &*retained.message.topic_name == TURN;
    let retained = saved.retained.iter().find(of_turn)?;
    std::str::from_utf8(&retained.message.payload)
        .ok()?
        .parse()
        .ok()
}

/// Returns the text of an error of the store with its cause.
fn with_cause(error: &mqtt_broker::StoreError) -> String {
    use std::error::Error;
    let cause = error.source().map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}
