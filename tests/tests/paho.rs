//! paho-mqtt against rbroker: a client that is not ours in anything.

use std::path::Path;

use tests::{Broker, Certificates, Program, Validity, paho_python};

/// Runs the exchange in each version on this road.
fn exchange(test: &str, settings: &str, road: &str, certificates: &Certificates) {
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
            .arg(road)
            .arg(certificates.path("ca.crt"));
        let finished = command.run().success();
        assert!(
            finished.text().ends_with("all passed\n"),
            "{road} {finished:?}"
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
