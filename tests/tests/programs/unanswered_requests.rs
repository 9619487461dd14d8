//! Requests to which `rrr --serve` can send no response.
#![cfg(unix)]

use tests::{Broker, FakeServer, Script, named_pipe};

use super::services::serve;

#[test]
fn a_request_without_response_topic_is_reported_and_acknowledged() {
    let broker = Broker::start("");
    let service = serve(&broker, "-i service -t ask -q 1", "echo ran >&2");
    broker.run("rpub", "-t ask -m x -q 1");
    service.wait_for_error("Cannot answer a request of topic 'ask': it names no response topic.");
    broker.wait_for_log("Received PUBACK from service");
    service.signal("TERM");
    let finished = service.wait().success();
    assert!(!finished.errors.contains("ran"), "{finished:?}");
    let line = "0 of 1 request answered, 1 without response topic.";
    assert!(finished.errors.contains(line), "{finished:?}");
}

#[test]
fn the_report_of_a_service_has_the_outcome_of_each_request() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let gate = named_pipe(folder.path()).display().to_string();
    let script = format!(
        r#"[ "$(cat)" = bad ] && exit 1; echo started >&2; read -r line < {gate}; echo $line"#
    );
    let service = serve(&broker, "-t ask -q 1 --report -", &script);
    broker.run("rpub", "-t ask -m x -q 1");
    let responding = "-V 5 -t ask -q 1 -D publish response-topic response -m";
    for payload in ["bad", "answered", "waiting"] {
        broker.run("rpub", &format!("{responding} {payload}"));
    }
    service.wait_for_errors("received PUBLISH", 4);
    service.wait_for_error("started");
    service.signal("TERM");
    std::fs::write(&gate, "last\n").unwrap();
    let report = service.wait().success().text();
    let messages = r#""messages":{"answered":1,"failed":1,"not_answered":1,"received":4,"without_response_topic":1}"#;
    assert!(report.contains(messages), "{report}");
}

/// A broker that accepts a wildcard in a response topic cannot make a service publish to it.
#[test]
fn a_response_topic_with_a_wildcard_gets_no_response() {
    let accept = b"\x20\x03\0\0\0";
    let request = b"\x90\x04\0\x01\0\0\x30\x0B\0\x01a\x06\x08\0\x03b/#x";
    let server = FakeServer::start(&[&[(18, accept), (9, request)]], false);
    let service = server.program("rrr").args("-t a --reconnect-max 0");
    let finished = service.args("--serve cat").run();
    assert_ne!(finished.status, 0, "{finished:?}");
    let received = server.received();
    assert!(
        !received[0].windows(3).any(|bytes| bytes == b"b/#"),
        "{received:?}"
    );
}

#[test]
fn a_rejected_response_does_not_end_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let permissions = folder.path().join("permissions");
    std::fs::write(
        &permissions,
        "topic readwrite ask\ntopic readwrite response/#\n",
    )
    .unwrap();
    let broker = Broker::start(&format!("acl_file {}", permissions.display()));
    let service = serve(&broker, "-t ask -q 1", "cat");
    broker.run(
        "rpub",
        "-V 5 -t ask -m x -q 1 -D publish response-topic secret",
    );
    service.wait_for_error(
        "Cannot answer a request of topic 'ask': the broker has rejected the response",
    );
    let asking = broker.program("rrr").args("-t ask -m y -q 1 -W 50");
    assert_eq!(asking.run().success().text(), "y\n");
}

#[test]
fn a_response_that_is_too_large_for_the_broker_becomes_a_failure() {
    let broker = Broker::start("max_packet_size 1000");
    let _service = serve(&broker, "-t ask -q 1", "head -c 2000 /dev/zero");
    let finished = broker.program("rrr").args("-t ask -n -q 1 -W 50").run();
    assert_eq!(finished.status, 1, "{finished:?}");
    let reason = "The service reports a failure: the broker does not accept the response";
    assert!(finished.errors.contains(reason), "{finished:?}");
}

/// After the loss of a session the packet identifier does not tell to which request a response belongs.
#[test]
fn a_response_that_is_rejected_after_a_reconnect_does_not_end_the_service() {
    let accept = b"\x20\x03\0\0\0";
    let request = b"\x90\x04\0\x01\0\x01\x32\x0B\0\x01a\0\x07\x04\x08\0\x01bx";
    let rejection = b"\x90\x04\0\x01\0\x01\x40\x03\0\x02\x97";
    // The lengths of CONNECT, SUBSCRIBE and the response.
    let first: Script<'_> = &[(18, accept), (9, request), (9, b"")];
    let second: Script<'_> = &[(18, accept), (9 + 9, rejection)];
    let server = FakeServer::start(&[first, second], true);
    let service = server.program("rrr").args("-t a -q 1 --serve cat").start();
    service.wait_for_error("The broker has rejected a response: ");
    service.signal("TERM");
    service.wait().success();
}

/// Any client may send requests, so none of them may end the service.
#[test]
fn a_request_with_too_large_properties_is_a_failed_run() {
    let broker = Broker::start("");
    let service = serve(&broker, "-t ask -q 1", "cat");
    let property = format!(" -D publish user-property a {}", "x".repeat(50_000));
    let request = "-V 5 -t ask -m x -q 1 -D publish response-topic answer";
    broker.run("rpub", &format!("{request}{}", property.repeat(3)));
    service.wait_for_error("its properties are too large for the environment of a process");
    let asking = broker.program("rrr").args("-t ask -m y -q 1 -W 50");
    assert_eq!(asking.run().success().text(), "y\n");
}
