//! Kills the broker again and again under load. Every acknowledged message must be delivered, and every message of QoS
//! 2 exactly once.
//!
//! The test takes a few seconds in each test run. `RPUBSUB_CRASH_SECONDS` sets another time (`cargo xtask crash`).

use std::collections::HashMap;
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tests::{Broker, Running};

/// The options of all publishers and subscribers, whose sessions outlive the crashes of the broker.
const FOR_EVER: &str = "-c --wait 60 --reconnect-max 60";

/// A program that publishes numbered lines, and the thread that writes them.
struct Publisher {
    name: &'static str,
    qos: u8,
    running: Running,
    /// The thread that writes the lines. It ends when `go_on` is dropped, and returns the number of lines.
    feeder: JoinHandle<u64>,
    go_on: Sender<()>,
}

impl Publisher {
    fn start(broker: &Broker, name: &'static str, qos: u8) -> Self {
        let (running, mut stdin) = broker
            .program("rpub")
            .args(&format!("{FOR_EVER} -i {name} -l -t t/{name} -q {qos}"))
            .start_with_input();
        let (go_on, stop) = channel();
        let feeder = thread::spawn(move || {
            let mut count = 0;
            let pace = Duration::from_millis(4);
            // A steady load, until `go_on` is dropped.
            while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(pace) {
                writeln!(stdin, "{name} {count}").expect("it reads");
                count += 1;
            }
            count
        });
        Self {
            name,
            qos,
            running,
            feeder,
            go_on,
        }
    }
}

/// Returns how often each line was received.
fn count(lines: &str) -> HashMap<&str, u32> {
    let mut counts = HashMap::new();
    for line in lines.lines() {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

fn seconds() -> u64 {
    let told = std::env::var("RPUBSUB_CRASH_SECONDS").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Returns a pseudo-random time until the next crash: 300 to 2000 milliseconds.
fn pause(seed: &mut u64) -> Duration {
    *seed = seed
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    Duration::from_millis(300 + (*seed >> 33) % 1700)
}

#[test]
fn acknowledged_messages_survive_repeated_kills_of_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start_silent(
        tests::Kind::Rbroker,
        &format!(
            "persistence true\npersistence_location {}\nmax_queued_messages 0",
            folder.path().display()
        ),
    );
    let subscribers: Vec<_> = [("s3", "mqttv311"), ("s5", "mqttv5 -x 3600")]
        .into_iter()
        .map(|(name, version)| {
            broker
                .program("rsub")
                .args(&format!("{FOR_EVER} -i {name} -q 2 -t t/+ -t end"))
                .args(&format!("-V {version}"))
                .start()
        })
        .collect();
    // A subscriber has subscribed when it has received the message "ready".
    for subscriber in &subscribers {
        while !subscriber.has_printed("ready\n") {
            let ready = broker.program("rpub").args("-t t/ready -m ready -q 1");
            ready.run().success();
        }
    }
    let publishers = [("a", 1), ("b", 2), ("c", 2), ("d", 1)];
    let publishers = publishers.map(|(name, qos)| Publisher::start(&broker, name, qos));
    let end = Instant::now() + Duration::from_secs(seconds());
    let (mut seed, mut crashes, mut starts) = (seconds(), 0, Vec::new());
    while Instant::now() < end {
        // This sleep is the time until the next crash and does not wait for any event.
        thread::sleep(pause(&mut seed));
        let start = Instant::now();
        broker = broker.restart();
        starts.push(start.elapsed());
        crashes += 1;
    }
    let mut published = Vec::new();
    for publisher in publishers {
        drop(publisher.go_on);
        let count = publisher.feeder.join().unwrap();
        publisher.running.wait().success(); // every line was acknowledged
        published.push((publisher.name, publisher.qos, count));
    }
    let goodbye = broker.program("rpub").args("-t end -m end -q 2");
    goodbye.run().success();
    let mut repeated = 0;
    for subscriber in subscribers {
        subscriber.wait_while_it_prints("\nend\n");
        subscriber.signal("TERM");
        let finished = subscriber.wait().success();
        let text = finished.text();
        let counts = count(&text);
        for (name, qos, published) in &published {
            for number in 0..*published {
                let line = format!("{name} {number}");
                let count = counts.get(line.as_str()).copied().unwrap_or(0);
                assert!(count > 0, "{line} is lost after {crashes} crashes");
                assert!(*qos < 2 || count == 1, "{line} came {count} times");
                repeated += u32::from(count > 1);
            }
        }
    }
    let total: u64 = published.iter().map(|(_, _, count)| count).sum();
    let middle = |part: &[Duration]| {
        let mut part = part.to_vec();
        part.sort();
        part[part.len() / 2].as_secs_f64() * 1000.0
    };
    let quarter = starts.len().div_ceil(4);
    println!(
        "{crashes} crashes, {total} messages to 2 subscribers: none lost, none of QoS 2 twice, {repeated} \
         of QoS 1 repeated; start (median) {:.1} ms in the first quarter, {:.1} ms in the last; store {} kB",
        middle(&starts[..quarter]),
        middle(&starts[starts.len() - quarter..]),
        std::fs::metadata(folder.path().join("rbroker.db"))
            .unwrap()
            .len()
            / 1024,
    );
}
