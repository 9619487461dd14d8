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
            _ => bail!("unknown option {argument}"),
        }
    }
    match seed {
        Some(seed) => replay(seed, traced),
        None => run_many(first, handshakes),
    }
}

/// One seed, twice: it has to do the same both times.
fn replay(seed: u64, traced: bool) -> Result<()> {
    let (result, trace) = run_with(seed, Reduction::default(), traced);
    trace.iter().for_each(|line| println!("{line}"));
    let outcome = result.or_else(|violation| fail(seed, violation))?;
    println!("{outcome:?}");
    Ok(())
}

fn run_many(first: u64, handshakes: u64) -> Result<()> {
    let start = Instant::now();
    let mut report = Report::default();
    for seed in first.. {
        let outcome = run_seed(seed).or_else(|violation| fail(seed, violation))?;
        // A sample of the seeds is run again: chance has one source.
        if seed % 100 == 0 && run_seed(seed) != Ok(outcome) {
            bail!("I16: seed {seed} does not do the same a second time");
        }
        report.add(&outcome);
        if report.total.faulted >= handshakes {
            break;
        }
    }
    let (total, seconds) = (report.total, start.elapsed().as_secs_f64());
    println!(
        "{} faulted handshakes of {} in {} runs (seeds {first} to {}), {} cuts, {} deliveries: \
         0 violations; {:.0} faulted handshakes per second",
        total.faulted,
        total.handshakes,
        report.runs,
        first + report.runs - 1,
        total.cuts,
        total.deliveries,
        total.faulted as f64 / seconds,
    );
    Ok(())
}

fn fail<T>(seed: u64, violation: mqtt_sim::Violation) -> Result<T> {
    let shrunk = shrink(seed, violation);
    let (_, trace) = run_with(seed, shrunk.reduction, true);
    for line in trace.iter().rev().take(60).rev() {
        eprintln!("{line}");
    }
    bail!("seed {seed}: {} ({:?})", shrunk.violation, shrunk.reduction);
}
