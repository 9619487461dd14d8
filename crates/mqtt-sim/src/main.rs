//! The program `mqtt-sim`. It runs the simulation with many seeds until it has seen enough faults, replays one seed
//! with a trace (`--seed`), or runs a fault at each byte of one exchange (`--cuts`). `cargo xtask sim` and `cargo xtask
//! mutants` start this program. Its options have no help text.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mqtt_sim::{Reduction, Report, run_seed, run_with, shrink};

/// The distance between the first seeds of `--starts`, and the default number of seeds that are run from each of them.
const DISTANCE_OF_STARTS: u64 = 10_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut seed, mut first, mut handshakes, mut traced) = (None, 0, 1_000_000, false);
    let (mut with_store, mut crashes) = (false, u64::MAX);
    let (mut starts, mut seeds, mut skipped) = (None, DISTANCE_OF_STARTS, Vec::new());
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64> {
            let text = arguments
                .next()
                .with_context(|| format!("{argument} needs a number"))?;
            text.parse().with_context(|| format!("{argument} {text}"))
        };
        match argument.as_str() {
            "--seed" => seed = Some(number()?),
            "--first" => first = number()?,
            "--handshakes" => handshakes = number()?,
            "--trace" => traced = true,
            "--store" => with_store = true,
            "--crashes" => (with_store, handshakes, crashes) = (true, u64::MAX, number()?),
            "--cuts" => return cut_everywhere(false),
            "--all-cuts" => return cut_everywhere(true),
            "--starts" => starts = Some(number()?),
            "--seeds" => seeds = number()?,
            "--skip" => skipped.push(number()?),
            _ => bail!("unknown option {argument}"),
        }
    }
    if let Some(starts) = starts {
        find_violations(starts, seeds, with_store, &skipped);
        return Ok(());
    }
    match seed {
        Some(seed) => replay(seed, with_store, traced),
        None => run_many(first, with_store, handshakes, crashes),
    }
}

/// Runs one seed.
fn replay(seed: u64, with_store: bool, traced: bool) -> Result<()> {
    let (result, trace) = run_with(seed, with_store, Reduction::default(), traced);
    trace.iter().for_each(|line| println!("{line}"));
    let outcome = result.or_else(|violation| fail(seed, with_store, violation))?;
    println!("{outcome:?}");
    Ok(())
}

fn run_many(first: u64, with_store: bool, handshakes: u64, crashes: u64) -> Result<()> {
    let start = Instant::now();
    let mut report = Report::default();
    for seed in first.. {
        let outcome =
            run_seed(seed, with_store).or_else(|violation| fail(seed, with_store, violation))?;
        // Every 100th seed runs a second time: a run must depend on its seed only. Running all of them twice would
        // halve the speed.
        if seed % 100 == 0 && run_seed(seed, with_store) != Ok(outcome) {
            bail!("I16: seed {seed} does not do the same a second time");
        }
        report.add(&outcome);
        if report.total.faulted >= handshakes || report.total.crashes >= crashes {
            break;
        }
    }
    let (total, seconds) = (report.total, start.elapsed().as_secs_f64());
    println!(
        "{} faulted handshakes of {} in {} runs (seeds {first} to {}), {} cuts, {} crashes and {} \
         stops of the broker, {} deliveries: \
         0 violations; {:.0} faulted handshakes per second",
        total.faulted,
        total.handshakes,
        report.runs,
        first + report.runs - 1,
        total.cuts,
        total.crashes,
        total.stops,
        total.deliveries,
        total.faulted as f64 / seconds,
    );
    Ok(())
}

/// Runs [`mqtt_sim::run_cuts`] and prints the number of runs.
fn cut_everywhere(all_kinds: bool) -> Result<()> {
    let runs = mqtt_sim::run_cuts(all_kinds).map_err(|violation| anyhow::anyhow!("{violation}"))?;
    let kinds = if all_kinds {
        "faults of all kinds"
    } else {
        "cuts"
    };
    println!(
        "{} runs with one fault (cut, kill, power loss) at each byte and {} with two {kinds}: 0 violations",
        runs.single, runs.double
    );
    Ok(())
}

/// Runs seeds from each of `starts` first seeds until a seed breaks an invariant. Prints one line for each first seed:
/// the invariant, the seed and the number of seeds that were needed, or `none` if no seed broke an invariant. `cargo
/// xtask mutants` reads these lines.
fn find_violations(starts: u64, seeds: u64, with_store: bool, skipped: &[u64]) {
    // A panic counts as a broken invariant. Without this hook its message would be printed between the lines.
    std::panic::set_hook(Box::new(|_| {}));
    for start in 0..starts {
        let first = start * DISTANCE_OF_STARTS;
        let mut run = (first..first + seeds).filter(|seed| !skipped.contains(seed));
        let found = run.find_map(|seed| {
            let invariant = match std::panic::catch_unwind(|| run_seed(seed, with_store)) {
                Ok(Ok(_)) => return None,
                Ok(Err(violation)) => violation.invariant,
                Err(_) => "panic",
            };
            Some((invariant, seed))
        });
        match found {
            Some((invariant, seed)) => println!("{invariant} {seed} {}", seed - first + 1),
            None => println!("none {first} {seeds}"),
        }
    }
}

fn fail<T>(seed: u64, with_store: bool, violation: mqtt_sim::Violation) -> Result<T> {
    // The trace of the shrunk run is printed, because it is shorter than the trace of the seed itself.
    let shrunk = shrink(seed, with_store, violation);
    let (_, trace) = run_with(seed, with_store, shrunk.reduction, true);
    for line in trace.iter().rev().take(60).rev() {
        eprintln!("{line}");
    }
    bail!("seed {seed}: {} ({:?})", shrunk.violation, shrunk.reduction);
}
