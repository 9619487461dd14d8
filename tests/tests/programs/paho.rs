//! Tests paho-mqtt, a client that shares no code with ours, against rbroker.

use std::path::Path;

use tests::{Broker, Certificates, Kind, Program, Validity, has_mosquitto, paho_python};

/// Runs the exchange in each version on this transport.
fn exchange(test: &str, settings: &str, transport: &str, certificates: &Certificates) {
    let Some(python) = paho_python(test) else {
        return;
    };
    let broker = Broker::start(settings);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("paho/exchange.py");
    for version in ["31", "311", "5"] {
        let port = broker.port.to_string();
        let command = Program::at(python.clone()).arg(&script).arg(&port);
        let command = command
            .arg(version)
            .arg(transport)
            .arg(certificates.path("ca.crt"));
        let finished = command.run().success();
        assert!(
            finished.text().ends_with("all passed\n"),
            "{transport} {finished:?}"
        );
    }
}

#[test]
fn paho_exchanges_messages_through_rbroker() {
    let test = "paho_exchanges_messages_through_rbroker";
    exchange(test, "", "tcp", &Certificates::new());
}

#[test]
fn paho_exchanges_messages_over_tls_and_websocket() {
    let test = "paho_exchanges_messages_over_tls_and_websocket";
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    let file = |name: &str| certificates.path(name).display().to_string();
    let tls = format!(
        "certfile {}\nkeyfile {}\n",
        file("server.crt"),
        file("server.key")
    );
    let websocket = "protocol websockets\n";
    exchange(test, &tls, "tls", &certificates);
    exchange(test, websocket, "ws", &certificates);
    exchange(test, &format!("{websocket}{tls}"), "wss", &certificates);
}

/// The observations that differ between rbroker and mosquitto, with the reason. `docs/differences.md` describes them to
/// users.
const DIFFERENCES: [(&str, &str); 5] = [
    (
        "connack",
        "Maximum Packet Size is announced, as mosquitto 2.1 does; 2.0 has no limit by itself",
    ),
    (
        "response_information",
        "who asks for it gets a topic of its own; mosquitto gives none",
    ),
    (
        "receive_maximum_of_the_client",
        "never exceeded; mosquitto 2.0 sends three messages where two are allowed",
    ),
    (
        "shared_subscriptions",
        "they get no retained messages (MQTT 5.0, 4.8.2); mosquitto 2.0 sends them",
    ),
    (
        "overlapping_subscriptions",
        "one copy with all identifiers; allow_duplicate_messages gives mosquitto's two",
    ),
];

/// Returns the observations of paho for each feature of 5.0.
fn observe(python: &Path, kind: Kind) -> Vec<(String, String)> {
    let broker = Broker::start_silent(kind, "max_keepalive 1000\nsys_interval 1");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("paho/features.py");
    let command = Program::at(python.to_owned()).arg(&script);
    let finished = command.arg(broker.port.to_string()).run().success();
    let text = finished.text();
    assert!(text.ends_with("all observed\n"), "{finished:?}");
    let line = |line: &str| {
        let (name, observed) = line.split_once(": ")?;
        Some((name.to_owned(), observed.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn paho_sees_the_same_features_of_5_0_as_with_mosquitto() {
    let test = "paho_sees_the_same_features_of_5_0_as_with_mosquitto";
    let Some(python) = paho_python(test) else {
        return;
    };
    if !has_mosquitto(test) {
        return;
    }
    let theirs = std::thread::spawn({
        let python = python.clone();
        move || observe(&python, Kind::Mosquitto)
    });
    let ours = observe(&python, Kind::Rbroker);
    let theirs = theirs.join().unwrap();
    assert!(ours.len() >= 20, "{ours:?}");
    let mut unexplained = Vec::new();
    for ((name, ours), (same_name, theirs)) in ours.iter().zip(&theirs) {
        assert_eq!(name, same_name);
        assert!(!ours.starts_with("fails"), "{name}: {ours}");
        let is_explained = DIFFERENCES.iter().any(|(explained, _)| explained == name);
        if (ours == theirs) == is_explained {
            unexplained.push(format!("{name}\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}
