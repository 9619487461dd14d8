//! What a program takes: time, processor time, memory.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds, in the kernel and outside.
    pub(crate) cpu: f64,
    /// kB at most.
    pub(crate) memory: i64,
    /// Whether every message arrived.
    pub(crate) is_complete: bool,
}

/// Runs a program with a file as its input. A process of its own runs it, so that what the system says about
/// children is about this one.
pub(crate) fn measure(program: &PathBuf, arguments: &str, input: Option<&PathBuf>) -> Sample {
    let own = std::env::current_exe().expect("a program knows its file");
    let mut command = Command::new(own);
    command.arg("--measured").arg(program);
    command.args(arguments.split_whitespace());
    command.stdin(match input {
        Some(path) => File::open(path).expect("the input is there").into(),
        None => Stdio::null(),
    });
    let output = command.stderr(Stdio::inherit()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [wall, cpu, memory, status] = numbers[..] else {
        panic!("{arguments}: {text}");
    };
    Sample {
        wall,
        cpu,
        memory: memory as i64,
        is_complete: status == 0.0,
    }
}

/// In the process between: runs the program and prints what it took.
pub(crate) fn run_measured(words: &[String]) {
    let [program, arguments @ ..] = words else {
        return;
    };
    let start = Instant::now();
    let mut command = Command::new(program);
    let status = command.args(arguments).stdout(Stdio::null()).status();
    let wall = start.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the system knows");
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    let failed = !status.is_ok_and(|status| status.success());
    println!("{wall} {cpu} {} {}", usage.max_rss(), u8::from(failed));
}

/// Seconds of processor time that all threads of a process have had.
pub(crate) fn cpu_of(process: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let nanoseconds: f64 = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .sum();
    nanoseconds / 1e9
}

/// kB that a process had at most.
pub(crate) fn memory_of(process: u32) -> i64 {
    let bytes = tests::peak_memory(process).expect("it runs");
    (bytes / 1024) as i64
}
