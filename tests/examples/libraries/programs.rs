//! Runs the six programs of a library against rbroker, and checks their output. A wrong result ends this process with a
//! panic.

use std::collections::BTreeSet;

use mqtt_client::{Client, Options, QoS};
use tests::{Broker, Certificates, PATIENCE, Program, Proxy, Validity};

use crate::Library;

pub(crate) fn check(library: &Library) {
    publish(library);
    subscribe(library);
    tls(library);
    let broker = Broker::start("");
    let output = run(library, "request_response", &broker.port.to_string());
    assert!(output.contains("HELLO"), "{output}");
    reconnect(library);
    // The publishers may be faster than the subscriber, and the default limit of 1000 queued messages would drop
    // messages.
    let broker = Broker::start_silent(tests::Kind::Rbroker, "max_queued_messages 0");
    let output = run(library, "threads", &broker.port.to_string());
    assert_eq!(output, "received 2000\n");
    println!("{}: all six programs do their work", library.name);
}

fn run(library: &Library, program: &str, arguments: &str) -> String {
    let program = Program::at(library.program(program)).args(arguments);
    program.run().success().text()
}

/// Returns a client of `mqtt-client`, which communicates with the program.
fn client(broker: &Broker) -> Client {
    Client::connect(Options::new("127.0.0.1", broker.port)).expect("the broker runs")
}

fn publish(library: &Library) {
    let broker = Broker::start("");
    let subscriber = client(&broker);
    let granted = subscriber.subscribe("kitchen/#", QoS::AtLeastOnce);
    granted.expect("the broker accepts everybody");
    run(library, "publish", &broker.port.to_string());
    let mut messages = subscriber.messages();
    for reading in ["21.5", "21.7", "22.0"] {
        let message = messages.receive(PATIENCE).expect("the broker runs");
        assert_eq!(message.expect("a message").text(), Some(reading));
    }
}

fn subscribe(library: &Library) {
    let broker = Broker::start("");
    let port = broker.port.to_string();
    let program = Program::at(library.program("subscribe"))
        .args(&port)
        .start();
    program.wait_for_output("subscribed");
    publish_all(&broker, "kitchen/temperature", &["21.5", "21.7", "22.0"]);
    let output = program.wait().success().text();
    for reading in ["21.5", "21.7", "22.0"] {
        let line = format!("kitchen/temperature: b\"{reading}\"");
        assert!(output.contains(&line), "{output}");
    }
}

fn tls(library: &Library) {
    let certificates = Certificates::new();
    certificates.server("server", &["localhost"], Validity::Now);
    let path = certificates.folder().display();
    let broker = Broker::start(&format!(
        "certfile {path}/server.crt\nkeyfile {path}/server.key"
    ));
    let arguments = format!("{} {path}/ca.crt", broker.port);
    run(library, "tls", &arguments);
    let log = broker.wait_for_log("Received PUBLISH");
    assert!(log.contains("u'me'"), "{log}");
}

/// Cuts the connection of the program after half of the messages.
fn reconnect(library: &Library) {
    let broker = Broker::start("");
    let proxy = Proxy::start(broker.address());
    let port = proxy.address.port().to_string();
    let program = Program::at(library.program("reconnect"))
        .args(&port)
        .start();
    program.wait_for_output("subscribed");
    let jobs: Vec<_> = (0..10).map(|job| format!("number {job}")).collect();
    let (first, second) = jobs.split_at(5);
    publish_all(&broker, "jobs", first);
    proxy.cut();
    publish_all(&broker, "jobs", second);
    let output = program.wait().success().text();
    let lines: BTreeSet<_> = output.lines().collect();
    for job in jobs {
        let line = format!("job b\"{job}\"");
        assert!(lines.contains(&*line), "{output}");
    }
}

fn publish_all(broker: &Broker, topic_name: &str, payloads: &[impl AsRef<str>]) {
    let publisher = client(broker);
    for payload in payloads {
        let payload = payload.as_ref().to_owned();
        let result = publisher.publish_and_wait(topic_name, payload, QoS::AtLeastOnce, PATIENCE);
        result.expect("the broker accepts everybody");
    }
}
