//! The time of each case, beside its peers: `cargo bench` in this folder. Times are of one machine and one
//! moment; what is compared is what stands side by side.

use mqtt_bench::{BATCH, Case};

fn main() {
    divan::main();
}

struct Shown(Case);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.0.name, self.0.by)
    }
}

/// Without those whose preparation takes longer than what they do: there only instructions tell the one from the
/// other.
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
