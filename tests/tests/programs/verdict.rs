//! The outcome of a run for scripts: `--exit-status sysexits`, the printed number of messages for each outcome, and
//! `--report`.
#![cfg(unix)]

use std::io::Write;

use tests::{Broker, FakeServer, Finished, Program};

const CONNECT: usize = 14; // the length of CONNECT in 3.1.1 without identifier
const ACCEPT: &[u8] = &[0x20, 2, 0, 0];
/// The length of PUBLISH with QoS 1 and a topic and payload of one byte each.
const PUBLISH: usize = 8;

/// Runs a program that writes its report to standard output. Also returns the report.
fn run(program: &str, server: &str, arguments: &str, input: &str) -> (Finished, String) {
    let command = Program::new(program).args(server).args(arguments);
    let finished = command
        .args("--exit-status sysexits --report -")
        .input(input)
        .run();
    let output = finished.text();
    let report = output.lines().last().unwrap_or_default().to_owned();
    (finished, report)
}

/// Fails the test if one of the fields is not in the report.
#[track_caller]
fn assert_fields(report: &str, fields: &[&str]) {
    for field in fields {
        assert!(report.contains(field), "{field} is not in {report}");
    }
}

#[test]
fn each_class_of_failure_has_its_status_of_sysexits() {
    let broker = Broker::start("");
    let options = broker.options();
    let folder = tempfile::tempdir().unwrap();
    let wrong_file = folder.path().join("options");
    std::fs::write(&wrong_file, "--nonsense\n").unwrap();
    let wrong_file = format!("-o {}", wrong_file.display());
    let refusing = FakeServer::start(&[&[(CONNECT, &[0x20, 2, 0, 5])]], true);
    let violating = FakeServer::start(&[&[(CONNECT, &[0x20, 2, 7, 0])]], true);
    let silent = FakeServer::start(&[&[]], false);
    let closing = FakeServer::start(&[&[(CONNECT, ACCEPT), (PUBLISH, b"")]], true);
    let missing = "-f /nonexistent/file";
    for (status, server, arguments) in [
        (0, &*options, "-m x -q 1"),
        (64, &options, "-m x -q 3"),
        (65, &options, "-s"),
        (66, &options, missing),
        (66, &options, "-m x --cafile /nonexistent/ca"),
        (68, "-h nowhere.invalid", "-m x"),
        (69, "-h 127.0.0.1 -p 1", "-m x"),
        (69, &closing.options(), "-m x -q 1"),
        (73, &options, "-m x --report /nonexistent/folder/report"),
        (75, &silent.options(), "-m x -W 200ms"),
        (76, &violating.options(), "-m x"),
        (77, &refusing.options(), "-m x"),
        (78, &options, &format!("-m x {wrong_file}")),
    ] {
        let command = Program::new("rpub").args(server).args("-t t");
        let finished = command.args(arguments).args("--exit-status sysexits").run();
        assert_eq!(finished.status, status, "{arguments}: {finished:?}");
    }
    // The process has no room for the files of an event loop.
    let script = "ulimit -n 5; exec \"$0\" \"$@\"";
    let rpub = tests::programs().join("rpub");
    let shell = Program::new("sh").arg("-c").arg(script).arg(&rpub);
    let command = shell
        .args(&options)
        .args("-t t -m x --exit-status sysexits");
    assert_eq!(command.run().status, 71);
    // Without `--exit-status`, a write error has the status of the mosquitto tools.
    let publisher = broker.program("rpub");
    publisher.args("-t t -m x -r").run().success();
    let script = "\"$0\" \"$@\" > /dev/full";
    let rsub = tests::programs().join("rsub");
    for (status, own) in [(1, ""), (74, "--exit-status sysexits")] {
        let shell = Program::new("sh").arg("-c").arg(script).arg(&rsub);
        let finished = shell.args(&options).args("-t t -C 1").args(own).run();
        assert_eq!(finished.status, status, "{finished:?}");
    }
}

#[test]
fn a_partial_run_names_the_numbers_and_the_first_failed_lines() {
    // The broker acknowledges the first two of four lines, rejects the third one and then sends nothing.
    let answers: &[u8] = b"\x40\x02\x00\x01\x40\x02\x00\x02\
        \x40\x0c\x00\x03\x97\x08\x1f\x00\x05quota";
    let script: tests::Script<'_> = &[(15, b"\x20\x03\x00\x00\x00"), (4 * (PUBLISH + 1), answers)];
    let server = FakeServer::start(&[script], false);
    let arguments = "-V 5 -t t -l -q 1 -W 1";
    let (finished, report) = run("rpub", &server.options(), arguments, "a\nb\nc\nd\n");
    assert_eq!(finished.status, 75, "{finished:?}");
    let line = "2 of 4 messages acknowledged, 1 unknown, 1 rejected.\n";
    assert!(finished.errors.contains(line), "{finished:?}");
    assert_fields(
        &report,
        &[
            r#""version":1"#,
            r#""program":"rpub""#,
            r#""class":"temporary""#,
            r#""exit_status":75"#,
            r#""error":"Timed out""#,
            r#""total":4"#,
            r#""acknowledged":2"#,
            r#""unknown":1"#,
            r#""rejected":1"#,
            r#""failed_lines":[3,4]"#,
            r#""duration":1."#,
            &format!(r#""server":"{}""#, server.address),
        ],
    );
}

#[test]
fn a_run_that_delivers_only_some_messages_is_worth_another_attempt() {
    // The broker rejects the second line, or closes the connection after it has acknowledged the first one.
    let rejecting: &[u8] = b"\x40\x02\x00\x01\x40\x03\x00\x02\x97";
    for (answers, status) in [(rejecting, "0x97"), (&rejecting[..4], "lost")] {
        let script: tests::Script<'_> =
            &[(15, b"\x20\x03\x00\x00\x00"), (2 * (PUBLISH + 1), answers)];
        let server = FakeServer::start(&[script], true);
        let arguments = "-V 5 -t t -l -q 1 --reconnect-max 100ms";
        let (finished, report) = run("rpub", &server.options(), arguments, "a\nb\n");
        assert_eq!(finished.status, 75, "{status}: {finished:?}");
        assert_fields(
            &report,
            &[r#""class":"temporary""#, r#""failed_lines":[2]"#],
        );
    }
}

#[test]
fn lines_that_were_resent_after_a_lost_session_can_be_in_the_report() {
    // The first connection breaks after four lines. The second one has a new session, in which the broker acknowledges
    // the first two lines.
    let first: tests::Script<'_> = &[(CONNECT, ACCEPT), (4 * PUBLISH, b"")];
    let answers: &[u8] = b"\x40\x02\x00\x01\x40\x02\x00\x02";
    let second: tests::Script<'_> = &[(CONNECT, ACCEPT), (4 * PUBLISH, answers)];
    let server = FakeServer::start(&[first, second], true);
    let arguments = "-V mqttv311 -t t -l -q 1 -W 2";
    let (finished, report) = run("rpub", &server.options(), arguments, "a\nb\nc\nd\n");
    assert_eq!(finished.status, 75, "{finished:?}");
    let sent = server.received();
    assert!(sent[1].ends_with(b"\x32\x06\x00\x01t\x00\x04d"), "{sent:?}");
    let fields = [r#""acknowledged":2"#, r#""failed_lines":[3,4]"#];
    assert_fields(&report, &fields);
}

#[test]
fn a_report_has_the_reason_of_the_broker() {
    // The CONNACK has the reason code Not authorized (0x87) and a reason string.
    let connack: &[u8] = b"\x20\x0b\x00\x87\x08\x1f\x00\x05go on";
    let server = FakeServer::start(&[&[(15, connack)]], true);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report");
    let command = server.program("rsub");
    let finished = command.args("-V 5 -t t --report").arg(&file).run();
    assert_eq!(finished.status, 135, "{finished:?}");
    let report = std::fs::read_to_string(&file).unwrap();
    assert_fields(
        &report,
        &[
            r#""class":"refused""#,
            r#""exit_status":135"#,
            r#""reason_code":135"#,
            r#""reason_string":"go on""#,
            r#""received":0"#,
        ],
    );
    assert_eq!(report.lines().count(), 1);
}

#[test]
fn success_is_reported() {
    let broker = Broker::start("");
    let options = broker.options();
    let (finished, report) = run("rpub", &options, "-t t -l -q 2", "a\nb\n");
    finished.success();
    let fields = [
        r#""class":"success""#,
        r#""acknowledged":2"#,
        r#""failed_lines":[]"#,
    ];
    assert_fields(&report, &fields);
    let (finished, report) = run("rpub", &options, "-t t -l", "a\nb\n");
    finished.success();
    assert_fields(&report, &[r#""acknowledged":0"#, r#""sent_with_qos_0":2"#]);
    let publisher = broker.program("rpub");
    publisher.args("-t t -m x -r").run().success();
    let (finished, report) = run("rsub", &options, "-t t -C 1", "");
    assert!(finished.success().text().starts_with("x\n"));
    assert_fields(&report, &[r#""class":"success""#, r#""received":1"#]);
}

#[test]
fn the_report_is_written_if_the_deadline_ends_a_blocked_program() {
    let command = Program::new("rpub").args("-t t -s -W 200ms --report -");
    let (running, mut input) = command.start_with_input();
    input.write_all(b"never ends").unwrap();
    let finished = running.wait();
    assert_eq!(finished.status, 27, "{finished:?}");
    let fields = [r#""class":"temporary""#, r#""messages":null"#];
    assert_fields(&finished.text(), &fields);
}
