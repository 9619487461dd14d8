//! `rsub --on-change` prints the changes of each topic, and `--every` at most one message of each topic in a period.
#![cfg(unix)]

use std::time::{SystemTime, UNIX_EPOCH};

use tests::{Broker, Program, Running};

/// Starts `rsub`, and waits until it has subscribed.
fn subscribe(broker: &Broker, arguments: &str) -> Running {
    let running = broker.program("rsub").args("-d").args(arguments).start();
    running.wait_for_error("received SUBACK");
    running
}

/// Publishes lines of a topic and a payload with QoS 1.
fn publish(broker: &Broker, lines: &str) {
    let publisher = broker.program("rpub").args("-l --with-topic -q 1");
    publisher.input(lines).run().success();
}

/// Runs `rsub` until it has printed `count` messages, and returns what it has printed of these lines.
fn printed(arguments: &str, count: usize, lines: &str) -> String {
    let broker = Broker::start("");
    let running = subscribe(&broker, &format!("-q 1 -t # -C {count} {arguments}"));
    publish(&broker, lines);
    running.wait().success().text()
}

#[test]
fn a_payload_that_did_not_change_is_not_printed() {
    let lines = "a on\na on\nb on\na off\nb on\na on\nc end\n";
    let expected = "a on\nb on\na off\na on\nc end\n";
    assert_eq!(printed("-v --on-change", 5, lines), expected);
    let output = printed("--jsonl --on-change", 5, lines);
    assert_eq!(output.matches(r#""payload":"on""#).count(), 3, "{output}");
    assert_eq!(printed("-F %t,%p --on-change", 2, lines), "a,on\nb,on\n");
    let handler = "--on-change --exec tr n N";
    assert_eq!(printed(handler, 5, lines), "oNoNoffoNeNd");
}

#[test]
fn the_tolerance_applies_to_the_last_printed_number_so_that_slow_drift_is_printed() {
    let lines = "a 20\na 20.4\na 20.5\na 20.6\na 20.9\na 21.2\na off\na off\na 21.2\nb end\n";
    let expected = "20\n20.6\n21.2\noff\n21.2\nend\n";
    assert_eq!(printed("--on-change --tolerance 0.5", 6, lines), expected);
}

#[test]
fn only_the_value_at_the_path_is_compared() {
    let lines = concat!(
        "a {\"time\":1,\"s\":[{\"t\":20}]}\n",
        "a {\"time\":2,\"s\":[{\"t\":20}]}\n",
        "a {\"time\":3,\"s\":[{\"t\":20.4}]}\n",
        "a {\"time\":4,\"s\":[{\"t\":21}]}\n",
        "a gone\n",
        "b end\n",
    );
    for path in ["s.0.t", "/s/0/t"] {
        let output = printed(&format!("--on-change --json {path}"), 5, lines);
        let times: Vec<_> = output.matches("\"time\":").collect();
        assert_eq!(times.len(), 3, "{output}");
        assert!(!output.contains("\"time\":2"), "{output}");
        let arguments = format!("--on-change --json {path} --tolerance 0.5");
        let output = printed(&arguments, 4, lines);
        assert!(!output.contains("\"time\":3"), "{output}");
        assert!(output.ends_with("gone\nend\n"), "{output}");
    }
}

#[test]
fn messages_that_are_not_printed_are_acknowledged() {
    for option in ["--on-change", "--every 1h"] {
        let broker = Broker::start("");
        let session = "-i logger -c -q 1 -t #";
        let running = subscribe(&broker, &format!("{session} {option} -v -C 2"));
        publish(&broker, "a on\na on\na on\nb end\n");
        assert_eq!(running.wait().success().text(), "a on\nb end\n");
        publish(&broker, "a later\n");
        let next = broker.run("rsub", &format!("{session} -v -C 1"));
        assert_eq!(next.text(), "a later\n", "{option}");
    }
}

#[test]
fn the_first_message_is_printed_immediately_and_the_newest_one_after_the_period() {
    let broker = Broker::start("");
    let running = subscribe(&broker, "-t # -v --every 400ms");
    publish(&broker, "a 1\n");
    running.wait_for_output("a 1\n");
    publish(&broker, "a 2\na 3\nb 1\n");
    let output = running.wait_for_output("a 3\n");
    assert_eq!(output, "a 1\nb 1\na 3\n");
    running.signal("TERM");
    running.wait().success();
}

#[test]
fn the_end_of_the_program_prints_the_last_values() {
    for (arguments, signal, status) in [
        ("--every 1h", true, 0),
        ("--every 1h --on-change", true, 0),
        ("--every 1h --idle 300ms", false, 0),
        ("--every 1h -W 3", false, 27),
        ("--every 1h -C 3", false, 0),
    ] {
        let broker = Broker::start("");
        let running = subscribe(&broker, &format!("-t # -v {arguments}"));
        publish(&broker, "a 1\na 2\na 3\nb 1\n");
        running.wait_for_output("b 1\n");
        assert!(!running.has_printed("a 3"), "{arguments}");
        if signal {
            running.signal("TERM");
        }
        if arguments.contains("-C") {
            publish(&broker, "c 1\n");
        }
        let finished = running.wait();
        assert_eq!(finished.status, status, "{arguments}: {finished:?}");
        // -C prints no more than its number.
        let last = if arguments.contains("-C") {
            "c 1\n"
        } else {
            "a 3\n"
        };
        let expected = format!("a 1\nb 1\n{last}");
        assert_eq!(finished.text(), expected, "{arguments}");
    }
}

#[test]
fn a_message_that_waited_has_the_time_of_its_arrival() {
    let broker = Broker::start("");
    let arguments = "-t # -F %U|%p --every 1h --idle 700ms";
    let running = subscribe(&broker, arguments);
    publish(&broker, "a 1\na 2\n");
    let output = running.wait().success().text();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (time, payload) = output.lines().nth(1).unwrap().split_once('|').unwrap();
    assert_eq!(payload, "2");
    let age = now.as_secs_f64() - time.parse::<f64>().unwrap();
    assert!((0.7..30.0).contains(&age), "{age}");
}

#[test]
fn a_handler_gets_the_message_that_waited_also_after_a_signal() {
    let broker = Broker::start("");
    let command = broker
        .program("rsub")
        .args("-q 1 -t # -d --every 1h --exec sh -c");
    let script = r#"echo "$MQTT_TOPIC $(cat)""#;
    let running = command.arg(script).start();
    running.wait_for_error("received SUBACK");
    publish(&broker, "a 1\na 2\na 3\nb 1\n");
    running.wait_for_output("b 1\n");
    running.signal("TERM");
    assert_eq!(running.wait().success().text(), "a 1\nb 1\na 3\n");
    // A handler that fails ends rsub. Messages that wait are handled before, because they were acknowledged.
    let command = broker
        .program("rsub")
        .args("-q 1 -t # -d --every 1h --exec sh -c");
    let script = "read -r x; echo \"$MQTT_TOPIC $x\"; [ $x != bad ]";
    let running = command.arg(script).start();
    running.wait_for_error("received SUBACK");
    publish(&broker, "a 1\na 2\nb bad\n");
    let finished = running.wait();
    assert_eq!(finished.status, 1, "{finished:?}");
    assert_eq!(finished.text(), "a 1\nb bad\na 2\n");
}

#[test]
fn a_snapshot_has_each_topic_once_although_filters_overlap() {
    if !tests::has_mosquitto("overlapping filters") {
        return;
    }
    // mosquitto sends a retained message for each filter that matches its topic.
    let broker = Broker::start_kind(tests::Kind::Mosquitto, "");
    broker.run("rpub", "-t a/b -m 1 -r -q 1");
    let arguments = "-t a/# -t a/+ --snapshot";
    assert_eq!(broker.run("rsub", arguments).text(), "1\n1\n");
    let arguments = format!("{arguments} --on-change");
    assert_eq!(broker.run("rsub", &arguments).text(), "1\n");
}

#[test]
fn wrong_options_of_the_selection_are_named() {
    for (arguments, expected) in [
        ("--json a", "--json needs --on-change."),
        ("--tolerance 1", "--tolerance needs --on-change."),
        (
            "--on-change --json -v",
            "Invalid path given for --json: '-v'",
        ),
        (
            "--on-change --tolerance -1",
            "Invalid value given for --tolerance: -1",
        ),
        ("--every 0", "Invalid time given for --every: 0"),
        (
            "--every 1 --random-filter 5",
            "--random-filter cannot be combined with --on-change or --every.",
        ),
    ] {
        let finished = Program::new("rsub").args("-t a").args(arguments).run();
        assert_eq!(finished.status, 1, "{arguments}");
        let errors = &finished.errors;
        assert!(errors.contains(expected), "{arguments}: {errors}");
    }
}
