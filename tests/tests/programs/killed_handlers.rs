//! No job is lost while `rsub`, its handlers and the broker are killed in turn.
#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use tests::{Broker, Program, Running};

use crate::handlers::{handle, publish, resume};

/// The number of jobs of each test. The number of kills is then [`KILLS`].
const JOBS_VARIABLE: &str = "RPUBSUB_HANDLER_JOBS";
const KILLS: usize = 30;

/// Returns a handler of this `rsub` that runs, if there is one.
fn a_handler(rsub: &Running) -> Option<String> {
    let id = rsub.id();
    // The threads of rsub start handlers, so each of them may be the parent.
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).ok()?;
    let children =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    children
        .flat_map(|text| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .next()
}

/// Waits until the file has this number of lines.
fn wait_for_lines(path: &Path, count: usize) -> String {
    let end = std::time::Instant::now() + tests::PATIENCE;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count {
            return text;
        }
        assert!(
            std::time::Instant::now() < end,
            "{} of {count} lines",
            text.lines().count()
        );
        std::thread::yield_now();
    }
}

#[test]
fn no_job_is_lost_while_rsub_handlers_and_the_broker_are_killed_in_turn() {
    let script = r#"job=$(cat); echo "$job" >> RUNS"#;
    run_and_kill("--retries 1000", script, (100, 6));
}

#[test]
fn no_job_is_lost_while_rsub_handlers_that_stay_and_the_broker_are_killed_in_turn() {
    // The payload is the only part of the line that is needed.
    let script = r#"while read -r line; do
        line=${line#*payload\":\"}
        echo "${line%%\"*}" >> RUNS
        echo ok
    done"#;
    // rsub waits for about a second after each kill of the broker, so the test has few of them.
    run_and_kill("--stdio", script, (60, 3));
}

/// Runs jobs with these options and this handler, which appends the payload to the file `RUNS`. Kills `rsub`, a handler
/// and the broker in turn, and checks that each job has run. `default` has the numbers of jobs and kills, unless
/// [`JOBS_VARIABLE`] sets others.
fn run_and_kill(options: &str, script: &str, default: (usize, usize)) {
    let jobs = std::env::var(JOBS_VARIABLE).ok();
    let (jobs, steps) = jobs.map_or(default, |jobs| (jobs.parse().unwrap(), KILLS));
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().display();
    let settings = format!(
        "persistence true\npersistence_location {store}/\nmax_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 8\n"
    );
    let mut broker = Broker::start(&settings);
    let arguments = format!("-i worker -c -q 1 -t job/# --jobs 4 {options}");
    let session = Program::new("rsub").args(&broker.options());
    session
        .args("-i worker -c -q 1 -t job/# -E")
        .run()
        .success();
    let mut lines = String::new();
    for job in 0..jobs {
        writeln!(lines, "job/{} {job}", job % 16).unwrap();
    }
    publish(&broker, "-l --with-topic -q 1", &lines);
    let runs = folder.path().join("runs");
    let script = script.replace("RUNS", &runs.display().to_string());
    let mut rsub = handle(&broker, &arguments, &script);
    let mut kills = [0; 3];
    for step in 1..=steps {
        wait_for_lines(&runs, jobs * step / (steps + 1));
        match step % 3 {
            0 => {
                rsub.kill();
                rsub = resume(&broker, &arguments, &script);
            }
            1 => {
                // The handler may have ended in between, and then nothing is killed.
                let Some(id) = a_handler(&rsub) else { continue };
                let killed = std::process::Command::new("kill")
                    .args(["-9", &id])
                    .output();
                if !killed.unwrap().status.success() {
                    continue;
                }
            }
            _ => broker = broker.restart(),
        }
        kills[step % 3] += 1;
    }
    let end = std::time::Instant::now() + tests::PATIENCE;
    let counts = loop {
        let text = std::fs::read_to_string(&runs).unwrap();
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for line in text.lines() {
            *counts.entry(line.parse().unwrap()).or_default() += 1;
        }
        if counts.len() == jobs {
            break counts;
        }
        assert!(
            std::time::Instant::now() < end,
            "{} of {jobs} jobs ran",
            counts.len()
        );
        std::thread::yield_now();
    };
    // The last step may have started rsub just now. A signal is a success after it has connected.
    rsub.wait_for_error("received SUBACK");
    rsub.signal("TERM");
    rsub.wait().success();
    let mut histogram = std::collections::BTreeMap::new();
    for runs in counts.values() {
        *histogram.entry(runs).or_insert(0) += 1;
    }
    println!(
        "{options}: {jobs} jobs, none lost; kill -9 of rsub {}, handlers {}, broker {}; jobs by number of runs: {histogram:?}",
        kills[0], kills[1], kills[2]
    );
}
