//! Deterministic simulation of the real client core and the real broker core. One 64-bit seed decides everything that
//! happens: the network cuts, stalls and delays connections, the disk fails, and processes die. Time is virtual. Two
//! runs of one seed exchange the same bytes.
//!
//! A run has a phase with faults and then a calm phase without faults. A strict [`checker`], which shares no code with
//! the codec, reads each byte that the clients and the broker send. The [`oracle`] records all published messages and
//! checks each delivery. The run ends at the first broken invariant and reports it.
//!
//! The sockets and event loops of the programs are not simulated; `tests/` runs whole programs. `docs/simulation.md`
//! describes what a run contains and what it does not contain.
#![forbid(unsafe_code)]

mod application;
mod broker_side;
mod calm;
pub mod checker;
mod client;
mod client_side;
mod cuts;
mod disk;
mod faults;
mod host;
mod hostile;
mod link;
mod main_loop;
mod models;
mod network;
pub mod oracle;
mod output_check;
mod plan;
mod publishing;
mod queues;
mod restart;
mod run;
mod scenario;
mod simulation;
mod states;
mod stop;
mod turns;
mod wills;
pub mod wire;

pub use cuts::{Runs, run_cuts};
pub use main_loop::Outcome;
pub use plan::{Plan, Reduction};
pub use run::{Report, Shrunk, plan_of, run_seed, run_with, shrink};
pub use simulation::Simulation;

/// A broken invariant: its number in the table, and the observation. I6 and I14 have no check of their own.
///
/// | Number | Invariant |
/// | --- | --- |
/// | I1 | a message of QoS 1 or 2 that was accepted reaches every subscriber whose session lasts, unless the queue of the subscriber was full |
/// | I2 | a message of QoS 2 between sessions that last is delivered exactly once |
/// | I3 | each delivered message was published, and is unaltered |
/// | I4 | the first deliveries of messages of one publisher and QoS keep their order |
/// | I5 | QoS 0 is delivered at most once |
/// | I7 | no packet identifier is used for two exchanges at a time, and none is in use when the run ends |
/// | I8 | the messages that wait for an application and the bytes that wait for a connection are bounded |
/// | I9 | no more exchanges are in flight than the receiver or the sender permits |
/// | I10 | no packet exceeds its receiver's maximum size, and no topic alias its receiver's maximum |
/// | I11 | each packet is permitted in the state of its connection and its exchange |
/// | I12 | Session Present equals that of a small model; each will that is due is published once and on time, and no other will is published |
/// | I13 | after the last fault all exchanges finish within a bounded number of steps |
/// | I15 | the store equals the state of the broker; it opens after every crash, twice with the same content |
/// | I16 | the same seed gives the same run |
/// | I17 | hostile peers do not affect other clients, and a silent peer cannot keep its connection |
/// | I18 | each subscriber ends with the newest state of each topic; a retained message is sent once for each subscription, and not after a newer live message |
/// | I19 | a message that the broker reads after UNSUBACK is not delivered for the removed filter |
/// | I20 | no queue exceeds its limit; a message is dropped only if its queue is full; each drop is counted |
/// | I21 | after a graceful stop everything is durable |
/// | I22 | the mutations that wait for a commit are bounded |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The number of the invariant, such as `I2`.
    pub invariant: &'static str,
    /// A description of the observation.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self {
            invariant,
            what: what.into(),
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

impl std::error::Error for Violation {}
