//! Measures the time and the CPU time of each library: for publishing until the broker has received all messages, and
//! for receiving messages that the broker has queued in a session.

use std::fmt::Write as _;
use std::time::Duration;

use mqtt_client::{Client, Options, ProtocolVersion, QoS};
use nix::sys::resource::{UsageWho, getrusage};
use tests::{Broker, Kind, PATIENCE, Program};

use crate::Library;

/// Number of runs of each library. The libraries take turns, and the fastest run counts: disturbances only make a run
/// slower.
const RUNS: usize = 5;

/// Number of messages of a run, for each QoS. A run takes about a second.
const MESSAGES: [usize; 3] = [200_000, 60_000, 30_000];

const SETTINGS: &str = "max_queued_messages 0\nmax_inflight_messages 100\nqueue_qos0_messages true";

/// The time and the CPU time of a run, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    time: f64,
    cpu: f64,
}

impl Sample {
    const NONE: Self = Self {
        time: f64::MAX,
        cpu: f64::MAX,
    };

    fn best(self, other: Self) -> Self {
        Self {
            time: self.time.min(other.time),
            cpu: self.cpu.min(other.cpu),
        }
    }
}

/// Measures both libraries. Returns a table with one row for each broker, direction and QoS.
pub(crate) fn table(ours: &Library, theirs: &Library) -> String {
    let mut text = format!(
        "| Broker | Load | QoS | {0}, messages/s | {1}, messages/s | time | {0}, CPU of a message | {1}, CPU of a message | CPU time |\n",
        ours.name, theirs.name,
    );
    text.push_str("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (broker_name, kind) in [("mosquitto", Kind::Mosquitto), ("rbroker", Kind::Rbroker)] {
        for action in ["publish", "receive"] {
            for (qos, messages) in (0_u8..).zip(MESSAGES) {
                let broker = Broker::start_silent(kind, SETTINGS);
                let mut best = [Sample::NONE; 2];
                for _ in 0..RUNS {
                    for (best, library) in best.iter_mut().zip([ours, theirs]) {
                        *best = best.best(run(library, &broker, action, qos, messages));
                    }
                }
                let [ours, theirs] = best;
                let count = messages as f64;
                let (rate, cpu) = (
                    |one: Sample| count / one.time * 1e6,
                    |one: Sample| one.cpu / count,
                );
                let _ = writeln!(
                    text,
                    "| {broker_name} | {action} | {qos} | {:.0} | {:.0} | {:.2} | {:.2} µs | {:.2} µs | {:.2} |",
                    rate(ours),
                    rate(theirs),
                    ours.time / theirs.time,
                    cpu(ours),
                    cpu(theirs),
                    ours.cpu / theirs.cpu,
                );
                eprintln!("{broker_name}, {action}, QoS {qos}");
            }
        }
    }
    text
}

fn run(library: &Library, broker: &Broker, action: &str, qos: u8, messages: usize) -> Sample {
    if action == "receive" {
        fill(broker, qos, messages);
    }
    let before = cpu_of_children();
    let arguments = format!("{action} {qos} {messages} {}", broker.port);
    let program = Program::at(library.program("load")).args(&arguments);
    let output = program.run().success().text();
    Sample {
        time: output.trim().parse().expect("the program prints its time"),
        // The broker is a child process, too. Its time is not included, because the system counts a child only after
        // its end.
        cpu: cpu_of_children() - before,
    }
}

/// Fills the queue of the session `load`, from which the program will receive.
fn fill(broker: &Broker, qos: u8, messages: usize) {
    let qos = QoS::from_value(qos).expect("0 to 2");
    let options = |client_identifier: &str, clean_start| {
        let mut options = Options::new("127.0.0.1", broker.port);
        options.connect.protocol_version = ProtocolVersion::V3_1_1;
        options.connect.client_identifier = client_identifier.into();
        options.connect.clean_start = clean_start;
        options
    };
    let connect = |options| Client::connect(options).expect("the broker runs");
    // A clean start discards messages that an earlier run has left in the session.
    let old = connect(options("load", true));
    old.disconnect(PATIENCE).expect("the broker runs");
    let subscriber = connect(options("load", false));
    let granted = subscriber.subscribe("load", qos);
    granted.expect("the broker accepts everybody");
    subscriber.disconnect(PATIENCE).expect("the broker runs");
    let publisher = connect(options("filler", true));
    for _ in 0..messages {
        let token = publisher.publish("load", vec![b'x'; 100], qos);
        token.expect("the broker runs");
    }
    let patience = Duration::from_secs(600);
    publisher.disconnect(patience).expect("the broker runs");
}

/// Returns the CPU time in microseconds of all ended child processes.
fn cpu_of_children() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the system knows");
    let microseconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    microseconds(usage.user_time()) + microseconds(usage.system_time())
}
