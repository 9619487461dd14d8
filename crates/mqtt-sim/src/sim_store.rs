//! The store of the simulated broker: a real store on a simulated disk, and the clocks of the machine. Functions that
//! create the broker of a plan are here too.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mqtt_broker::{BootTime, Clock, Store};
use mqtt_broker_core::{Broker, Limits, Mutation, Retained, Snapshot};
use mqtt_client::{Message, QoS};
use mqtt_codec::TopicName;

use crate::disk::SimDisk;
use crate::plan::Plan;

/// A store on a simulated disk.
pub(crate) struct SimStore {
    /// The disk, which outlives the store.
    pub(crate) disk: SimDisk,
    /// `None` while the broker is down.
    pub(crate) store: Option<Store>,
    /// The number of the next commit. Each commit writes this number to a retained message without subscribers
    /// (`turn_record`). So after a failed commit the store shows whether the commit is durable.
    pub(crate) turn: u64,
    /// The mutations of the commit in progress.
    pub(crate) committing: Option<Vec<Mutation>>,
    pub(crate) system: System,
}

/// The clocks of the broker's system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System {
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
    pub(crate) fn clock(&self, now: Instant) -> Clock {
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
    pub(crate) fn goes_down(&mut self, power_loss: bool, rng: &mut fastrand::Rng) {
        if power_loss {
            self.boots += 1
        } else {
            let seconds = rng.u64(1_900_000_000..2_100_000_000);
            self.wall = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        }
    }
}

/// The topic name of the turn record. No client subscribes to it.
pub(crate) const TURN: &str = "turn";

/// Creates the broker of the plan, with its store if it has one.
pub(crate) fn new_broker(plan: &Plan, now: Instant) -> (Broker, Option<SimStore>) {
    let broker = broker(plan);
    if plan.store.is_none() {
        return (broker, None);
    }
    let disk = SimDisk::default();
    let system = System::new(now);
    let store = Store::with_backend(disk.clone(), system.clock(now)).expect("an empty disk");
    let mut broker = broker;
    broker.record_mutations();
    broker.restore(now, Snapshot::default());
    let (store, turn) = (Some(store), 1);
    let committing = None;
    (
        broker,
        Some(SimStore {
            disk,
            store,
            turn,
            committing,
            system,
        }),
    )
}

/// Creates a broker with the limits of the plan and without content.
pub(crate) fn broker(plan: &Plan) -> Broker {
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

/// Returns the mutation that writes the number of a commit to the store.
pub(crate) fn turn_record(turn: u64) -> Mutation {
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
