//! [`Scenario`]: the plan of a run, its random decisions, its time, and its trace. Every step needs them.

use std::time::Instant;

use fastrand::Rng;

use crate::plan::Plan;
use crate::wire::hash;

/// The course of a run. Every random decision uses `rng`, and every time is `now`, so that the seed alone decides the
/// run.
pub(crate) struct Scenario {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    start: Instant,
    pub(crate) now: Instant,
    pub(crate) step: u64,
    /// Set before and after the phase with faults: no faults happen, and no end of a connection is noticed late.
    pub(crate) is_calm: bool,
    /// The hash of all bytes that clients and broker have sent and read.
    pub(crate) hash: u64,
    /// The lines of the trace, if one is wanted.
    lines: Option<Vec<String>>,
}

/// The bytes that [`Scenario::record`] adds to the trace. The numbers are part of the hash of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moved {
    ClientSends = 1,
    BrokerSends = 2,
    BrokerReads = 3,
    ClientReads = 4,
}

impl Scenario {
    pub(crate) fn new(plan: Plan, rng: Rng, now: Instant, traced: bool) -> Self {
        Self {
            plan,
            rng,
            start: now,
            now,
            step: 0,
            is_calm: true,
            hash: 0,
            lines: traced.then(Vec::new),
        }
    }

    /// Returns a random number of bytes that arrive together. `there` is the number of bytes on their way.
    pub(crate) fn piece(&mut self, there: usize) -> usize {
        match there {
            0 => 0,
            // Pieces of at most seven bytes often end within a fixed header.
            _ if self.plan.tiny_pieces && self.rng.u8(0..4) > 0 => self.rng.usize(1..=there.min(7)),
            _ if self.rng.bool() => there,
            _ => self.rng.usize(1..=there),
        }
    }

    /// Adds bytes that were moved to the hash of the run and to the trace.
    pub(crate) fn record(&mut self, moved: Moved, client: usize, bytes: &[u8]) {
        self.hash = hash(bytes, hash(&[moved as u8], self.hash));
        self.note(|| {
            let who = match moved {
                Moved::ClientSends => "client sends",
                Moved::BrokerSends => "broker sends",
                Moved::BrokerReads => "broker reads",
                Moved::ClientReads => "client reads",
            };
            format!("{who} (client {client}): {bytes:02x?}")
        });
    }

    /// Appends a line to the trace. The closure does not run if no trace is wanted, because formatting is slow.
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let time = (self.now - self.start).as_secs_f64();
            lines.push(format!("{:6} {time:9.3}  {}", self.step, text()));
        }
    }

    /// Returns the lines of the trace. The trace is empty unless the scenario was created with `traced`.
    pub(crate) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
