//! The output of `--trace`: arrows between the names of both ends for people, and `--trace=json` for programs.
#![cfg(unix)]

use tests::{Broker, Program};

/// Returns the names of packets with their direction, as the ladder of `--trace` shows them.
fn rungs(errors: &str) -> Vec<String> {
    let rung = |line: &str| {
        let arrow = if line.contains('▶') { ">" } else { "<" };
        let name = line
            .split_whitespace()
            .find(|word| word.len() > 4 && word.chars().all(|letter| letter.is_ascii_uppercase()));
        format!("{arrow}{}", name.unwrap_or(line))
    };
    errors.lines().map(rung).collect()
}

#[test]
fn a_trace_shows_the_handshake_of_each_qos() {
    let broker = Broker::start("");
    for (qos, handshake) in [
        (0, &[">PUBLISH"][..]),
        (1, &[">PUBLISH", "<PUBACK"]),
        (2, &[">PUBLISH", "<PUBREC", ">PUBREL", "<PUBCOMP"]),
    ] {
        let arguments = format!("-t temp/random -m 23.0 -q {qos} --trace");
        let errors = broker.run("rpub", &arguments).errors;
        let rungs = rungs(&errors);
        assert_eq!(rungs[..2], [">CONNECT", "<CONNACK"], "{errors}");
        assert_eq!(&rungs[2..rungs.len() - 1], handshake, "{errors}");
        assert_eq!(rungs[rungs.len() - 1], ">DISCONNECT", "{errors}");
        assert!(errors.contains("topic name temp/random"), "{errors}");
        assert!(!errors.contains('\u{1b}'), "no colours in a pipe");
    }
}

#[test]
fn json_trace_contains_no_password() {
    let broker = Broker::start("");
    let arguments = "-t a -m x -q 1 -V 5 -u name -P secret -i c --trace=json";
    let errors = broker.run("rpub", arguments).errors;
    assert_eq!(errors.lines().count(), 5, "{errors}");
    for (line, packet) in
        errors
            .lines()
            .zip(["CONNECT", "CONNACK", "PUBLISH", "PUBACK", "DISCONNECT"])
    {
        assert!(
            line.starts_with("{\"seconds\":") && line.ends_with('}'),
            "{line}"
        );
        assert!(line.contains(&format!("\"packet\":\"{packet}\"")), "{line}");
    }
    assert!(
        errors.contains("\"user_name\":\"name\",\"password_length\":6"),
        "{errors}"
    );
    assert!(!errors.contains("secret"), "{errors}");
}

#[test]
fn broker_and_all_clients_print_traces() {
    let broker = Program::new("rbroker").args("-p 0 --trace").start();
    let log = broker.wait_for_error("running.");
    let (_, rest) = log.split_once("Listening on 127.0.0.1:").unwrap();
    let port = rest.split_once('.').unwrap().0;
    let target = format!("-h 127.0.0.1 -p {port}");
    let subscriber = Program::new("rsub")
        .args(&target)
        .args("-i sub -t q -C 1 --trace")
        .start();
    subscriber.wait_for_error("SUBACK");
    let asking = Program::new("rrr").args(&target);
    let asking = asking
        .args("-i asks -t q -e r -m question --trace -W 30")
        .start();
    assert!(subscriber.wait().success().errors.contains("topic name q"));
    let answer = Program::new("rpub")
        .args(&target)
        .args("-t r -m answer")
        .run()
        .success();
    assert_eq!(answer.errors, "");
    let asked = asking.wait().success();
    assert_eq!(asked.text(), "answer\n");
    assert!(
        asked.errors.contains("response topic r"),
        "{}",
        asked.errors
    );
    broker.wait_for_error("asks ── DISCONNECT ──▶ rbroker");
    let log = broker.wait_for_error("sub ── DISCONNECT ──▶ rbroker");
    assert!(log.contains("sub ◀─── PUBLISH ──── rbroker"), "{log}");
}

/// A publisher and a subscriber of each version use a broker that traces. A packet must show only the fields of its
/// version.
#[test]
fn trace_shows_properties_only_for_5_0() {
    let broker = Program::new("rbroker").args("-p 0 --trace=json").start();
    let log = broker.wait_for_error("running.");
    let (_, rest) = log.split_once("Listening on 127.0.0.1:").unwrap();
    let target = format!("-h 127.0.0.1 -p {}", rest.split_once('.').unwrap().0);
    let mut subscribers = Vec::new();
    for version in ["31", "311", "5"] {
        let subscriber = Program::new("rsub").args(&target);
        let arguments = format!("-i s{version} -V {version} -t t -C 1 --trace=json -W 60");
        let subscriber = subscriber.args(&arguments).start();
        subscriber.wait_for_error("SUBACK");
        subscribers.push((version, subscriber));
    }
    let publisher = Program::new("rpub").args(&target);
    let publisher = publisher.args("-t t -m x -D publish content-type text -q 1");
    publisher.run().success();
    let mut traces = Vec::new();
    for (version, subscriber) in subscribers {
        let finished = subscriber.wait().success();
        traces.push((version, "rsub", finished.errors));
        let own = format!("\"client_identifier\":\"s{version}\"");
        broker.wait_for_error(&format!("{own},\"packet\":\"DISCONNECT\""));
        let log = broker.error_so_far();
        let lines = log.lines().filter(|line| line.contains(&own));
        traces.push((version, "rbroker", lines.collect::<Vec<_>>().join("\n")));
    }
    for (version, program, trace) in traces {
        let what = format!("{program} {version}: {trace}");
        for packet in ["CONNECT", "CONNACK", "SUBSCRIBE", "SUBACK", "PUBLISH"] {
            assert!(
                trace.contains(&format!("\"packet\":\"{packet}\"")),
                "{what}"
            );
        }
        for field in [
            "clean_start",
            "receive_maximum",
            "reason_code",
            "content_type",
            "no_local",
        ] {
            assert_eq!(
                trace.contains(&format!("\"{field}")),
                version == "5",
                "{field} {what}"
            );
        }
        for field in ["clean_session", "return_code"] {
            assert_eq!(
                trace.contains(&format!("\"{field}")),
                version != "5",
                "{field} {what}"
            );
        }
        assert_eq!(trace.contains("session_present"), version != "31", "{what}");
    }
}
