//! Measures the time, the CPU time and the memory of a program.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

/// The result of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The time in seconds.
    pub(crate) wall: f64,
    /// The CPU time in seconds, in the program and in the kernel.
    pub(crate) cpu: f64,
    /// The maximum resident memory in kB.
    pub(crate) memory: i64,
    /// Set if every message arrived.
    pub(crate) is_complete: bool,
}

/// Runs a program with a file as its input. A process in between starts the program, because the system reports usage
/// for all children of a process together.
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

/// Runs in the process in between: runs the program and prints its usage.
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

/// Returns the CPU time of all threads of a process, in seconds.
pub(crate) fn cpu_of(process: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let nanoseconds: f64 = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .sum();
    nanoseconds / 1e9
}

/// Returns the maximum resident memory of a process in kB.
pub(crate) fn memory_of(process: u32) -> i64 {
    let bytes = tests::peak_memory(process).expect("it runs");
    (bytes / 1024) as i64
}
