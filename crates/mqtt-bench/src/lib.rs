//! The cases of the benchmarks. A case is one operation of a codec, a session or a broker, which is repeated many
//! times. `main.rs` runs one case under callgrind, and `benches/time.rs` measures the time of all cases. A case does
//! its operation in batches of [`BATCH`], with the surroundings that its interface requires: a buffer that is filled
//! again, or an allocation.

mod ours;
mod peers;
mod wire;
mod working;

/// The number of operations in a batch, and of packets in the buffer at a time.
pub const BATCH: usize = 100;

/// An operation that is measured.
#[derive(Clone, Copy)]
pub struct Case {
    /// The name of the operation.
    pub name: &'static str,
    /// The name of the library that does the operation.
    pub by: &'static str,
    /// Does the operation this many times. The number must be a multiple of [`BATCH`].
    pub run: fn(usize),
}

/// Returns all cases. The cases of one operation follow each other.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = ours::CASES.iter().chain(peers::CASES).copied().collect();
    cases.sort_by_key(|case| case.name);
    cases.extend(working::CASES);
    cases
}
