//! Measures our programs and mosquitto's side by side and in turns: time, CPU time and memory. Prints the tables of
//! `docs/performance.md`, or the tables that are named. `cargo xtask bench` runs this program. It checks no limit, but
//! marks a row in which a message is missing.

mod brokers;
mod clients;
mod growth;
mod measure;
mod peer;

use std::fmt::Write as _;

use measure::Sample;

/// Number of measurements of each program. The median counts.
const ROUNDS: usize = 5;

/// Measures, and returns a table.
type Part = fn() -> String;

/// A row of a table: the workload, the number of messages, and the measurements of both programs.
struct Row {
    name: String,
    messages: usize,
    ours: Vec<Sample>,
    theirs: Vec<Sample>,
}

impl Row {
    /// Runs both programs in turns.
    fn measure(
        name: &str,
        messages: usize,
        mut ours: impl FnMut() -> Sample,
        mut theirs: impl FnMut() -> Sample,
    ) -> Self {
        let mut row = Self {
            name: name.to_owned(),
            messages,
            ours: Vec::new(),
            theirs: Vec::new(),
        };
        for _ in 0..ROUNDS {
            row.ours.push(ours());
            row.theirs.push(theirs());
        }
        eprintln!("{name}");
        row
    }
}

fn median(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<_> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn table(rows: &[Row]) -> String {
    let head = "| Workload | wall | CPU | CPU, mosquitto | memory | memory, mosquitto |";
    let mut text = format!("{head}\n| --- | ---: | ---: | ---: | ---: | ---: |\n");
    for row in rows {
        let both =
            |value: fn(&Sample) -> f64| (median(&row.ours, value), median(&row.theirs, value));
        let ((wall, their_wall), (cpu, their_cpu)) = (both(|s| s.wall), both(|s| s.cpu));
        let (memory, their_memory) = both(|sample| sample.memory as f64);
        let each = |seconds: f64| seconds * 1e6 / row.messages as f64;
        let missing = |samples: &[Sample]| samples.iter().any(|sample| !sample.is_complete);
        let mut name = row.name.clone();
        if missing(&row.ours) {
            name += " (**ours lost messages**)";
        }
        if missing(&row.theirs) {
            name += " (mosquitto lost messages)";
        }
        let ratio = |ours: f64, theirs: f64| {
            if missing(&row.ours) || missing(&row.theirs) {
                "–".to_owned()
            } else {
                format!("{:.2}", ours / theirs)
            }
        };
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {:.2} us | {:.1} MB | {:.1} MB |",
            ratio(wall, their_wall),
            ratio(cpu, their_cpu),
            each(their_cpu),
            memory / 1000.0,
            their_memory / 1000.0,
        );
    }
    text
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..] {
        if first == "--measured" {
            return measure::run_measured(rest);
        }
    }
    if tests::find("mosquitto").is_none() || tests::find("mosquitto_pub").is_none() {
        eprintln!("mosquitto and its clients are needed, to be measured beside ours.");
        std::process::exit(1);
    }
    let parts: [(&str, Part); 4] = [
        ("programs", || table(&clients::rows())),
        ("brokers", || table(&brokers::rows())),
        ("latency", brokers::latency),
        ("growth", growth::growth),
    ];
    for (name, part) in parts {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            println!("## {name}\n{}", part());
        }
    }
}
