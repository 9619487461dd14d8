//! Deterministic simulation: the real client, the real broker, and a network between them that cuts,
//! stalls and delays as one 64-bit seed says. Time is virtual.
//!
//! A run has a phase with faults and a calm phase without. At every step the bytes that each
//! end sends are read by a strict checker of its own ([`checker`]), and what the applications get is
//! compared with the [`oracle`], which records what was published. The first invariant that is broken ends the run
//! and names itself; the same seed gives the same run, to the byte.
#![forbid(unsafe_code)]

mod application;
mod calm;
pub mod checker;
mod client;
mod cuts;
mod disk;
mod ends;
mod faults;
mod hostile;
mod link;
pub mod oracle;
mod plan;
mod publishing;
mod queues;
mod restart;
mod run;
mod sim_store;
mod simulation;
mod states;
mod stop;
mod traffic;
mod turns;
mod wills;
pub mod wire;

pub use cuts::{Runs, run_cuts};
pub use plan::{Plan, Reduction};
pub use run::{Report, Shrunk, plan_of, run_seed, run_with, shrink};
pub use simulation::{Outcome, Simulation};

/// An invariant that does not hold: its number in the list below, and what was seen.
///
/// | Number | What has to hold |
/// | --- | --- |
/// | I1 | a message of QoS 1 or 2 that was accepted reaches every lasting subscriber, unless the queue of the subscriber was full |
/// | I2 | QoS 2 between sessions that last is delivered exactly once |
/// | I3 | what is delivered was published, unaltered |
/// | I4 | first deliveries of one publisher and QoS keep their order |
/// | I5 | QoS 0 is delivered at most once |
/// | I7 | identifiers: none is used twice while open, none is open when all is quiet |
/// | I8 | what waits is bounded: messages with the application, bytes of each connection |
/// | I9 | never more exchanges under way than the receiver or the sender allows |
/// | I10 | no packet is larger than its receiver takes, no topic alias above its maximum |
/// | I11 | every packet is legal where it stands: DUP, PUBREL, the first and the last packet |
/// | I12 | Session Present is as a small model says, and so are wills: each that is due is published once, at its time, and no other |
/// | I13 | when faults stop everything is finished within a bound |
/// | I15 | the store has what the broker knows; from every crash it opens, and twice with the same content |
/// | I16 | the same seed gives the same run |
/// | I17 | peers that break the rules change nothing for the others, and hold nothing by saying nothing |
/// | I18 | retained messages: each subscriber ends with the newest state of each topic, gets it once for each subscription, and never after a newer live one |
/// | I19 | after UNSUBACK nothing comes of this filter that the broker read later |
/// | I20 | never more messages wait than the limit of a queue, only those are dropped that came to a full queue, and every drop is counted |
/// | I21 | a graceful stop leaves nothing behind that is not durable |
/// | I22 | the mutations that wait for a commit are bounded |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Such as `I2`.
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
