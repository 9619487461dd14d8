//! Measures the time of each case, for this codec and for others: `cargo bench` in the folder `crates/mqtt-bench`. The
//! times depend on the machine and the moment, so only times of one run can be compared.

use mqtt_bench::{BATCH, Case};

fn main() {
    divan::main();
}

/// A case with a name for the report.
struct Shown(Case);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.0.name, self.0.by)
    }
}

/// Returns the cases to measure. Cases "beside N subscriptions" are left out: their preparation takes longer than the
/// operation, so that only instruction counts can show a difference.
fn cases() -> impl Iterator<Item = Shown> {
    let cases = mqtt_bench::cases().into_iter();
    cases
        .filter(|case| !case.name.contains("beside"))
        .map(Shown)
}

#[divan::bench(args = cases())]
fn hundred(case: &Shown) {
    (case.0.run)(BATCH);
}
