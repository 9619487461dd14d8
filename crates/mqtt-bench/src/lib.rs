//! Cases: one operation of a codec, a session or a broker, done many times. `main.rs` runs one of them under
//! callgrind, `benches/time.rs` measures their time. Each does its operation in batches of [`BATCH`], with
//! what such a codec needs around it: a buffer that is filled again, or an allocation where its interface
//! wants one.

mod ours;
mod peers;
mod wire;
mod working;

/// The number of packets in the buffer at a time.
pub const BATCH: usize = 100;

/// An operation that is measured.
#[derive(Clone, Copy)]
pub struct Case {
    /// The name of the operation.
    pub name: &'static str,
    /// By whom.
    pub by: &'static str,
    /// Does it so many times; a multiple of [`BATCH`].
    pub run: fn(usize),
}

/// All cases, those of one operation together.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = ours::CASES.iter().chain(peers::CASES).copied().collect();
    cases.sort_by_key(|case| case.name);
    cases.extend(working::CASES);
    cases
}
