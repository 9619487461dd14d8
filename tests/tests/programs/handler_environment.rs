//! The environment of the commands that a user gives: the fields of the message, and no password.
#![cfg(unix)]

use tests::{Broker, Program};

use crate::handlers::publish;

/// The variables of a message that are absent if the message has no such field.
const OPTIONAL: [&str; 6] = [
    "MQTT_CONTENT_TYPE",
    "MQTT_RESPONSE_TOPIC",
    "MQTT_PAYLOAD_FORMAT_INDICATOR",
    "MQTT_MESSAGE_EXPIRY_INTERVAL",
    "MQTT_CORRELATION_DATA_BASE64",
    "MQTT_USER_PROPERTIES",
];

/// Returns the variables of a command that prints its environment, in the order of their names.
fn of_message(environment: &str) -> Vec<&str> {
    let lines = environment.lines();
    let mut variables: Vec<_> = lines.filter(|line| line.starts_with("MQTT_")).collect();
    variables.sort_unstable();
    variables
}

#[test]
fn a_handler_gets_each_field_of_the_message() {
    let broker = Broker::start("");
    let running = broker.program("rsub");
    let running = running.args("-V 5 -q 2 -t a -C 1 -d --exec env").start();
    running.wait_for_error("received SUBACK");
    let properties = "-D publish content-type text -D publish response-topic r/t -D publish payload-format-indicator 1 \
                      -D publish message-expiry-interval 60 -D publish user-property k v -D publish correlation-data c";
    publish(&broker, &format!("-V 5 -t a -m four -q 2 {properties}"), "");
    let environment = running.wait().success().text();
    let variables = of_message(&environment);
    let (time, others): (Vec<_>, Vec<_>) = variables
        .into_iter()
        .partition(|variable| variable.starts_with("MQTT_TIME="));
    let expected = [
        "MQTT_CONTENT_TYPE=text",
        "MQTT_CORRELATION_DATA_BASE64=Yw==",
        "MQTT_DUP=0",
        "MQTT_MESSAGE_EXPIRY_INTERVAL=60",
        "MQTT_PAYLOAD_FORMAT_INDICATOR=1",
        "MQTT_PAYLOAD_LENGTH=4",
        "MQTT_QOS=2",
        "MQTT_RESPONSE_TOPIC=r/t",
        "MQTT_RETAIN=0",
        "MQTT_RUN=1",
        "MQTT_TOPIC=a",
        r#"MQTT_USER_PROPERTIES=[["k","v"]]"#,
    ];
    assert_eq!(others, expected);
    assert!(time.len() == 1 && time[0].ends_with('Z'), "{time:?}");
    // The flags of other messages: one is retained, and the broker delivers the other one again.
    publish(&broker, "-t retained -m x -q 1 -r", "");
    let retained = broker.run("rsub", "-t retained -C 1 --exec env").text();
    assert!(of_message(&retained).contains(&"MQTT_RETAIN=1"));
    let arguments = "-i worker -c -q 1 -t again -C 1 -d";
    let first = broker.program("rsub").args(arguments);
    let first = first.args("--exec false").start();
    first.wait_for_error("received SUBACK");
    publish(&broker, "-t again -m x -q 1", "");
    assert_eq!(first.wait().status, 1);
    let second = broker.program("rsub").args(arguments).args("--exec env");
    let again = second.run().success().text();
    assert!(of_message(&again).contains(&"MQTT_DUP=1"));
}

#[test]
fn no_command_gets_the_password_or_a_field_of_another_message() {
    let broker = Broker::start("");
    let port = broker.address().port();
    let start = |program: &str, arguments: &str| {
        let program = Program::new(program).args("-t a -d").args(arguments);
        let program = program
            .env("MQTT_URL", &format!("mqtt://me:secret@127.0.0.1:{port}"))
            .env("MQTT_PASSWORD", "secret");
        let program = OPTIONAL
            .iter()
            .fold(program, |p, name| p.env(name, "stale"));
        program.start()
    };
    // The standard output of a handler that stays is not that of rsub.
    let staying = "env >&2; while read -r line; do echo ok; done";
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("stay");
    std::fs::write(&script, staying).unwrap();
    let stdio = format!("-C 1 -q 1 --stdio --exec sh {}", script.display());
    for (program, arguments) in [
        ("rsub", "-C 1 -q 1 --exec env"),
        ("rsub", &*stdio),
        ("rsub", "-C 1 --expect 100ms --on-silence env"),
        ("rrr", "-V 5 --serve sh -c env>&2"),
    ] {
        let running = start(program, arguments);
        running.wait_for_error("received SUBACK");
        let url = format!("MQTT_URL=mqtt://me@127.0.0.1:{port}\n");
        if arguments.contains("--on-silence") {
            running.wait_for_output(&url);
        }
        publish(
            &broker,
            "-V 5 -t a -m x -q 1 -D publish response-topic r",
            "",
        );
        if program == "rrr" {
            running.wait_for_error(&url);
            running.signal("TERM");
        }
        let finished = running.wait().success();
        let environment = format!("{}\n{}", finished.text(), finished.errors);
        assert!(environment.contains(&url), "{arguments}: {environment}");
        assert!(
            !environment.contains("secret"),
            "{arguments}: {environment}"
        );
        let is_on_silence = arguments.contains("--on-silence");
        assert!(
            is_on_silence || !environment.contains("stale"),
            "{arguments}: {environment}"
        );
    }
}
