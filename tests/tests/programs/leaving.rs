//! Subscribers that disconnect while messages keep arriving. The broker must get their last acknowledgements and the
//! DISCONNECT, so that it resends no message and publishes no will.
//!
//! Each kind runs three times, or as often as the environment variable `LEAVING_RUNS` says.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tests::{Broker, Certificates, Kind, Program, Validity, has_mosquitto};

/// A transport between the programs and the broker.
struct Transport {
    name: &'static str,
    settings: String,
    options: String,
}

fn transports(certificates: &Certificates) -> [Transport; 3] {
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    let path = |name: &str| certificates.path(name).display().to_string();
    [
        Transport {
            name: "plain",
            settings: String::new(),
            options: String::new(),
        },
        Transport {
            name: "TLS",
            settings: format!(
                "certfile {}\nkeyfile {}",
                path("server.crt"),
                path("server.key")
            ),
            options: format!("--cafile {}", path("ca.crt")),
        },
        Transport {
            name: "WebSocket",
            settings: "protocol websockets".into(),
            options: "--ws".into(),
        },
    ]
}

/// Publishes numbers until `stop` is set.
fn flood(publisher: Program, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let (publisher, mut input) = publisher.start_with_input();
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let lines: String = (number..number + 20).map(|n| format!("{n}\n")).collect();
            number += 20;
            if input.write_all(lines.as_bytes()).is_err() {
                break;
            }
            // This sleep limits the rate, so that other processes get CPU time.
            thread::sleep(Duration::from_millis(2));
        }
        drop(input);
        publisher.wait();
    })
}

/// Runs `rsub -c -C 3` again and again. Returns the number of messages that were printed more than once, and the number
/// of wills that the broker published.
fn leave(kind: Kind, transport: &Transport, qos: u8, runs: usize) -> Option<(usize, usize)> {
    let broker = Broker::try_start(kind, &transport.settings)?;
    let options = format!("{} {}", broker.options(), transport.options);
    let observer = Program::new("rsub")
        .args(&options)
        .args("-i o -t w -N")
        .start();
    broker.wait_for_log("Sending SUBACK to o");
    let subscriber = || {
        let arguments = format!("-c -i x -t f -q {qos} --will-topic w --will-payload x");
        Program::new("rsub").args(&options).args(&arguments)
    };
    subscriber().args("-E").run().success();
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = Program::new("rpub").args(&options);
    let publisher = publisher.args(&format!("-i p -t f -q {qos} -l"));
    let flood = flood(publisher, Arc::clone(&stop));
    let mut printed = BTreeMap::new();
    for _ in 0..runs {
        let finished = subscriber().args("-C 3 -W 30").run().success();
        for line in finished.text().lines() {
            *printed.entry(line.to_owned()).or_insert(0) += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    let last = Program::new("rpub").args(&options);
    last.args("-t w -m last").run().success();
    assert_eq!(
        printed.values().sum::<usize>(),
        3 * runs,
        "each run prints three"
    );
    let wills = observer.wait_for_output("last");
    let repeated = printed.values().filter(|count| **count > 1).count();
    Some((repeated, wills.len() - "last".len()))
}

fn check(qos: u8) {
    let runs = std::env::var("LEAVING_RUNS").ok();
    let runs = runs.and_then(|runs| runs.parse().ok()).unwrap_or(3);
    let certificates = Certificates::new();
    for transport in transports(&certificates) {
        for kind in [Kind::Rbroker, Kind::Mosquitto] {
            if kind == Kind::Mosquitto && !has_mosquitto("leaving") {
                continue;
            }
            let result = leave(kind, &transport, qos, runs);
            println!(
                "{kind:?}, {}, QoS {qos}, {runs} runs: {result:?}",
                transport.name
            );
            // Some builds of mosquitto have no WebSocket.
            assert!(
                matches!(result, Some((0, 0)) | None),
                "{}: {result:?}",
                transport.name
            );
        }
    }
}

#[test]
fn received_messages_of_qos_1_are_not_redelivered_and_no_will_is_published() {
    check(1);
}

#[test]
fn received_messages_of_qos_2_are_not_redelivered_and_no_will_is_published() {
    check(2);
}
