//! Compares `mqtt-client` with `rumqttc`: the time and the CPU time to publish messages until the broker has
//! acknowledged all of them.
//!
//! ```sh
//! cargo run --release --example client_libraries -- 100000 mosquitto=1883 rbroker=1884
//! ```
//!
//! The arguments are the number of messages, and the names and ports of brokers that run on this machine. Each
//! measurement is a process of its own, so that its CPU time is that of one library. The libraries take turns. The
//! table has the fastest of three runs of each library.

mod ours;
mod theirs;

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Maximum numbers of messages in flight and in the queue of the callers, for both libraries.
const IN_FLIGHT: u16 = 100;
const QUEUE: usize = 1000;

/// Number of runs for each row. The fastest run counts.
const RUNS: usize = 3;

const PAYLOAD: [u8; 100] = [b'x'; 100];
const LIBRARIES: [&str; 2] = ["mqtt-client", "rumqttc"];

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [library, qos, messages, port] if LIBRARIES.contains(&library.as_str()) => {
            measure(library, qos.parse()?, messages.parse()?, port.parse()?)
        }
        [messages, brokers @ ..] if !brokers.is_empty() => table(messages, brokers),
        _ => Err("expected: MESSAGES NAME=PORT...".into()),
    }
}

/// Publishes with one library, and prints the time and the CPU time in microseconds.
fn measure(library: &str, qos: u8, messages: usize, port: u16) -> Result<()> {
    let start = Instant::now();
    match library {
        "rumqttc" => theirs::publish(qos, messages, port)?,
        _ => ours::publish(qos, messages, port)?,
    }
    let time = start.elapsed();
    println!("{} {}", time.as_micros(), cpu_time()?.as_micros());
    Ok(())
}

/// Returns the CPU time of this process so far, in steps of 10 ms.
fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in parentheses, may contain spaces.
    let fields = stat.rsplit_once(") ").ok_or("no name")?.1;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    let ticks: std::result::Result<u64, _> = ticks.sum();
    Ok(Duration::from_millis(ticks? * 10))
}

/// Measures each library with each broker and QoS, and prints the table.
fn table(messages: &str, brokers: &[String]) -> Result<()> {
    println!("| Broker | QoS | Library | Messages in a second | CPU time of a message |");
    println!("| --- | --- | --- | --- | --- |");
    let count: f64 = messages.parse()?;
    for broker in brokers {
        let (name, port) = broker.split_once('=').ok_or("expected NAME=PORT")?;
        for qos in ["0", "1", "2"] {
            let mut best = [(f64::MAX, f64::MAX); LIBRARIES.len()];
            for _ in 0..RUNS {
                for (library, best) in LIBRARIES.iter().zip(&mut best) {
                    let (time, cpu) = run(&[library, qos, messages, port])?;
                    *best = (best.0.min(time), best.1.min(cpu));
                }
            }
            for (library, (time, cpu)) in LIBRARIES.iter().zip(best) {
                let (rate, cpu) = (count / time * 1e6, cpu / count);
                println!("| {name} | {qos} | {library} | {rate:.0} | {cpu:.1} µs |");
            }
        }
    }
    Ok(())
}

/// Runs one measurement in a separate process. Returns its time and CPU time in microseconds.
fn run(arguments: &[&str]) -> Result<(f64, f64)> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let (time, cpu) = text.trim().split_once(' ').ok_or_else(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!("{arguments:?}: {error}")
    })?;
    Ok((time.parse()?, cpu.parse()?))
}
