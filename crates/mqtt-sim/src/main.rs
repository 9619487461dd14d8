//! `mqtt-sim`: runs seeds. See `cargo xtask sim`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mqtt_sim::{Reduction, Report, run_seed, run_with, shrink};

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
            "--defects" => return find_defects(&arguments.collect::<Vec<_>>()),
            _ => bail!("unknown option {argument}"),
        }
    }
    match seed {
        Some(seed) => replay(seed, with_store, traced),
        None => run_many(first, with_store, handshakes, crashes),
    }
}

/// One seed.
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
        // A sample of the seeds is run again: chance has one source.
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

/// A fault at each byte of one message's way, and two.
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

/// How many seeds a planted defect may take.
#[cfg(feature = "planted-defects")]
const MAXIMUM_SEEDS: u64 = 10_000;

/// Returns `true` if the run of this seed has the feature in which the defect is. Without it the run is the
/// same as without the defect, so that it need not be done.
#[cfg(feature = "planted-defects")]
fn may_show(defect: mqtt_session::Defect, seed: u64) -> bool {
    use mqtt_session::Defect::*;
    let (plan, _) = mqtt_sim::plan_of(seed, defect.needs_store());
    let has_states = || plan.clients.iter().any(|client| client.states);
    match defect {
        RetainedNotRemoved | RetainedTwice | RetainedNotSent | UnsubscribeIgnored
        | ReplayLostAtRestart | OvertakenKeepsNumber => has_states(),
        OldestDropped | QueueOverLimit | DropNotCounted | QueueFullTooSoon => {
            plan.queue_limit.is_some()
        }
        ThrottledForEver | OutputUnbounded => plan.budget.is_some(),
        BacklogIgnored => plan.budget.is_some() && plan.slow_store > 0,
        _ => true,
    }
}

/// Plants each defect, or those of these numbers, and counts the seeds until it is found, eleven times.
#[cfg(feature = "planted-defects")]
fn find_defects(only: &[String]) -> Result<()> {
    use mqtt_session::{Defect, plant};
    println!("| Defect | | Found by | Median of seeds | Most |\n| --- | --- | --- | ---: | ---: |");
    let mut planted = 0;
    for (number, defect) in Defect::ALL {
        if !only.is_empty() && !only.iter().any(|only| only == number) {
            continue;
        }
        planted += 1;
        plant(Some(defect));
        let mut counts = Vec::new();
        let mut found_by = std::collections::BTreeSet::new();
        for trial in 0..11 {
            let first = trial * MAXIMUM_SEEDS;
            let found = (first..first + MAXIMUM_SEEDS).find_map(|seed| {
                if !may_show(defect, seed) {
                    return None;
                }
                run_seed(seed, defect.needs_store())
                    .err()
                    .map(|violation| (seed - first + 1, violation))
            });
            let Some((count, violation)) = found else {
                bail!("{number} {defect:?} is not found in {MAXIMUM_SEEDS} seeds from {first}");
            };
            counts.push(count);
            found_by.insert(violation.invariant);
        }
        plant(None);
        counts.sort_unstable();
        let found_by: Vec<_> = found_by.into_iter().collect();
        let (median, most) = (counts[counts.len() / 2], counts[counts.len() - 1]);
        println!(
            "| {number} | {defect:?} | {} | {median} | {most} |",
            found_by.join(", ")
        );
    }
    println!("{planted} planted defects, each found 11 times of 11.");
    Ok(())
}

#[cfg(not(feature = "planted-defects"))]
fn find_defects(_only: &[String]) -> Result<()> {
    bail!("this build has no planted defects: build it with the feature planted-defects")
}

fn fail<T>(seed: u64, with_store: bool, violation: mqtt_sim::Violation) -> Result<T> {
    let shrunk = shrink(seed, with_store, violation);
    let (_, trace) = run_with(seed, with_store, shrunk.reduction, true);
    for line in trace.iter().rev().take(60).rev() {
        eprintln!("{line}");
    }
    bail!("seed {seed}: {} ({:?})", shrunk.violation, shrunk.reduction);
}
