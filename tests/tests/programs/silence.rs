//! `rsub --expect` reports topic filters without a message, and `--check` is a plugin for monitoring systems.
#![cfg(unix)]

use tests::{Broker, FakeServer, Finished, Program, Running};

/// Starts `rsub`, and waits until it has subscribed.
fn subscribe(broker: &Broker, arguments: &str) -> Running {
    let running = broker.program("rsub").args("-d").args(arguments).start();
    running.wait_for_error("received SUBACK");
    running
}

fn publish(broker: &Broker, arguments: &str) {
    broker.run("rpub", &format!("-q 1 -m x {arguments}"));
}

/// Publishes to a topic until the value is dropped.
fn keep_publishing(broker: &Broker, topic: &str) -> Running {
    let arguments = format!("-t {topic} -m x --repeat 1000000 --repeat-delay 100ms");
    broker.program("rpub").args(&arguments).start()
}

/// Waits until a time has passed, with a program whose deadline it is.
fn pass(broker: &Broker, time: &str) {
    let command = broker.program("rsub").args("-t never -W").arg(time);
    assert_eq!(command.run().status, 27);
}

fn check(broker: &Broker, arguments: &str) -> Finished {
    let command = broker.program("rsub").args("--check");
    command.args(arguments).run()
}

/// Asserts that a check has ended with this status and has printed one line that starts with these words.
fn assert_checked(finished: &Finished, status: i32, words: &str) {
    assert_eq!(finished.status, status, "{finished:?}");
    let text = finished.text();
    assert!(text.starts_with(words), "{finished:?}");
    assert_eq!(text.matches('\n').count(), 1, "{text}");
}

#[test]
fn a_filter_without_a_message_ends_rsub_and_is_named() {
    let broker = Broker::start("");
    let busy = keep_publishing(&broker, "a/b");
    for sysexits in ["", "--exit-status sysexits"] {
        let folder = tempfile::tempdir().unwrap();
        let command = broker.program("rsub").folder(folder.path());
        // The first three filters overlap, and each of them has the messages.
        let filters = "-t a/# -t a/b -t $share/group/+/b -t b -t c/#";
        let arguments = format!("{filters} --expect 1500ms --report report {sysexits}");
        let finished = command.args(&arguments).run();
        assert_eq!(finished.status, 40, "{finished:?}");
        let line = format!(
            "Error: No message for 'b', 'c/#' in 1.5 s; connected to {}.\n",
            broker.address()
        );
        assert_eq!(finished.errors, line);
        assert!(finished.text().starts_with("x\n"), "{finished:?}");
        let report = std::fs::read_to_string(folder.path().join("report")).unwrap();
        for field in [
            r#""class":"silence""#,
            r#""exit_status":40"#,
            r#""silent_filters":["b","c/#"]"#,
        ] {
            assert!(report.contains(field), "{report}");
        }
    }
    drop(busy);
}

#[test]
fn a_retained_message_and_an_excluded_one_are_no_sign_of_life() {
    let broker = Broker::start("");
    publish(&broker, "-t a -r");
    let busy = keep_publishing(&broker, "a/debug");
    let finished = broker
        .program("rsub")
        .args("-t a/# -T a/debug --expect 500ms")
        .run();
    assert_eq!(finished.status, 40, "{finished:?}");
    assert_eq!(finished.text(), "x\n");
    let finished = check(&broker, "-t a --expect 300ms");
    assert_checked(&finished, 2, "MQTT CRITICAL - No message for 'a' in 0.3 s");
    // A retained message counts on request. A message that is published with RETAIN arrives without it.
    let arguments = "-t a --expect 5 --check";
    let finished = check(&broker, &format!("{arguments} --expect-retained"));
    assert_checked(&finished, 0, "MQTT OK");
    let running = subscribe(&broker, arguments);
    publish(&broker, "-t a -r");
    assert_checked(&running.wait(), 0, "MQTT OK");
    drop(busy);
}

#[test]
fn a_lost_connection_does_not_stop_the_clock_and_is_reported() {
    let broker = Broker::start("");
    let address = broker.address();
    let running = subscribe(&broker, "-t a --expect 2");
    drop(broker);
    let finished = running.wait();
    assert_eq!(finished.status, 40, "{finished:?}");
    let text = format!("No message for 'a' in 2 s; not connected to {address} for ");
    assert!(finished.errors.contains(&text), "{finished:?}");
}

#[test]
fn a_filter_that_the_broker_has_denied_is_silent() {
    const CONNACK: &[u8] = &[0x20, 2, 0, 0];
    // The reason codes of SUBACK are 0 for the first filter and 0x80 for the second one.
    let suback = (12, &[0x90, 4, 0, 1, 0, 0x80][..]);
    let script: tests::Script<'_> = &[(14, CONNACK), suback];
    let server = FakeServer::start(&[script], false);
    let arguments = "-i a -t a -t b --expect 300ms";
    let command = Program::new("rsub").args(&server.options()).args(arguments);
    let finished = command.run();
    assert_eq!(finished.status, 40, "{finished:?}");
    let text = "No message for 'a', 'b' (subscription denied) in 0.3 s";
    assert!(finished.errors.contains(text), "{finished:?}");
}

#[test]
fn the_first_of_silence_timeout_and_count_ends_rsub() {
    let broker = Broker::start("");
    for (arguments, status) in [
        ("--expect 20 -W 1", 27),
        ("--expect 300ms -W 20", 40),
        ("--expect 300ms --idle 20", 40),
        ("--expect 20 --idle 300ms", 0),
        ("--expect 20 -C 1 -t b --expect-retained", 0),
        ("--expect 300ms -C 1", 40),
    ] {
        publish(&broker, "-t b -r");
        let command = broker.program("rsub").args("-t a").args(arguments);
        let finished = command.run();
        assert_eq!(finished.status, status, "{arguments}: {finished:?}");
    }
}

#[test]
fn the_command_of_on_silence_runs_once_for_each_silence() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let script = "echo \"$MQTT_FILTER $MQTT_SILENCE $MQTT_CONNECTED$MQTT_PASSWORD $*\"; exit 3\n";
    std::fs::write(folder.path().join("alarm.sh"), script).unwrap();
    let command = broker.program("rsub").env("MQTT_PASSWORD", "secret");
    let command = command
        .folder(folder.path())
        .args("-t room/+ -N -v --expect 400ms --on-silence");
    let running = command.arg("sh  alarm.sh $(id) x").start();
    let line = "room/+ 0.4 1 $(id) x\n";
    running.wait_for_output(line);
    running.wait_for_error("The command of --on-silence for 'room/+' failed: exit status: 3.");
    let warning = "No message for 'room/+' in 0.4 s; connected to";
    running.wait_for_error(warning);
    publish(&broker, "-t room/1");
    running.wait_for_error("A message for 'room/+' has come after ");
    let output = running.wait_for_output_until(|output| output.matches(line).count() == 2);
    assert_eq!(output.unwrap(), format!("{line}room/1 x{line}"));
    running.signal("TERM");
    let finished = running.wait().success();
    assert_eq!(finished.errors.matches(warning).count(), 2, "{finished:?}");
    let command = broker.program("rsub").args("-t a --expect 100ms");
    let finished = command.args("--on-silence /nonexistent/alarm").run();
    assert_eq!(finished.status, 1, "{finished:?}");
    let text = "Cannot start the command '/nonexistent/alarm' of --on-silence: ";
    assert!(finished.errors.contains(text), "{finished:?}");
}

#[test]
fn a_check_reports_ok_warning_and_critical_with_performance_data() {
    let broker = Broker::start("");
    let busy = keep_publishing(&broker, "a/b");
    let finished = check(&broker, "-t a/# -t +/b -t it's/a|b -t a/b --expect 2");
    let words = "MQTT CRITICAL - No message for 'it's/a_b' in 2 s; connected to";
    assert_checked(&finished, 2, words);
    let text = finished.text();
    let (_, data) = text.split_once(" | ").unwrap();
    assert!(data.contains("'it''s/a_b'=U;;2;0 'a/b'="), "{text}");
    let finished = check(&broker, "-t a/# -t +/b --expect 20 --warn-after 10");
    assert_checked(&finished, 0, "MQTT OK - A message has come for 2 filters, ");
    assert!(finished.text().contains(" | 'a/#'=0"), "{finished:?}");
    assert!(finished.text().ends_with("s;10;20;0\n"), "{finished:?}");
    drop(busy);
    let running = subscribe(&broker, "-t c --check --expect 20 --warn-after 300ms");
    pass(&broker, "0.4");
    publish(&broker, "-t c");
    let words = "MQTT WARNING - The first message for 'c' took longer than 0.3 s (last one after ";
    assert_checked(&running.wait(), 1, words);
}

#[test]
fn a_check_that_cannot_be_made_is_critical_or_unknown() {
    let broker = Broker::start("");
    let port = tests::free_port();
    let refused = format!("rsub -p {port} -t a --check --expect 5 --quiet");
    let late = format!("rsub {} -t a --check --expect 5 -W 1", broker.options());
    for (command, status, words) in [
        (&*refused, 2, "MQTT CRITICAL - "),
        (&*late, 2, "MQTT CRITICAL - Timed out"),
        (
            "rsub -t a --check",
            3,
            "MQTT UNKNOWN - --check needs --expect.",
        ),
        (
            "rsub -t a --check --exepct 5",
            3,
            "MQTT UNKNOWN - Unknown option '--exepct'.",
        ),
    ] {
        let (program, arguments) = command.split_once(' ').unwrap();
        let finished = Program::new(program).args(arguments).run();
        assert_checked(&finished, status, words);
        assert_eq!(finished.errors, "", "{command}");
    }
    let running = subscribe(&broker, "-t a --check --expect 50");
    running.signal("TERM");
    assert_checked(&running.wait(), 3, "MQTT UNKNOWN - A signal ended rsub");
}

#[test]
fn wrong_options_about_silence_are_named() {
    for (arguments, expected) in [
        ("--expect 0", "Invalid time given for --expect: 0"),
        ("--on-silence x", "--on-silence needs --expect."),
        ("--expect-retained", "--expect-retained needs --expect."),
        ("--warn-after 1", "--warn-after needs --expect."),
        ("--expect 5 --warn-after 1", "--warn-after needs --check."),
        (
            "--expect 5 --on-silence it's",
            "Invalid command given for --on-silence: it's",
        ),
        ("--expect 5 -E", "--expect cannot be combined with -E."),
        (
            "-V 5 --expect 5 --retain-as-published",
            "--expect cannot be combined with --retain-as-published.",
        ),
    ] {
        let finished = Program::new("rsub").args("-t a").args(arguments).run();
        assert_eq!(finished.status, 1, "{arguments}");
        let errors = &finished.errors;
        assert!(errors.contains(expected), "{arguments}: {errors}");
    }
    for (arguments, expected) in [
        ("-C 1", "--check cannot be combined with -C."),
        ("--idle 1", "--check cannot be combined with --idle."),
        ("--exec cat", "--check cannot be combined with --exec."),
        (
            "--warn-after 5",
            "The time of --warn-after must be shorter than the time of --expect.",
        ),
        (
            "--on-silence x",
            "--check cannot be combined with --on-silence.",
        ),
    ] {
        let command = Program::new("rsub").args("-t a --check --expect 5");
        let finished = command.args(arguments).run();
        assert_checked(&finished, 3, &format!("MQTT UNKNOWN - {expected}"));
    }
}
