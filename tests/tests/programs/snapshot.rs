//! `rsub --snapshot` prints exactly the retained messages, and `--idle` ends after silence.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use tests::{Broker, FakeServer, Kind, Program, has_mosquitto};

/// The numbers of retained messages, unless the variable sets others.
const COUNTS: &str = "0 1 10000";
const COUNTS_VARIABLE: &str = "RPUBSUB_SNAPSHOT_COUNTS";

fn run(program: &str, broker: &Broker, arguments: &str, input: String) -> tests::Finished {
    let command = Program::new(program).args(&broker.options());
    command.args(arguments).input(input).run()
}

/// Takes snapshots of a broker with different numbers of retained messages, with each QoS and in two versions.
fn take_snapshots(kind: Kind) {
    let counts = std::env::var(COUNTS_VARIABLE).unwrap_or_else(|_| COUNTS.to_owned());
    for count in counts.split_whitespace() {
        let count: usize = count.parse().unwrap();
        let broker = Broker::start_silent(kind, "max_queued_messages 0\n");
        let mut lines = String::new();
        for number in 0..count {
            writeln!(lines, "r/{number} payload {number}").unwrap();
        }
        run("rpub", &broker, "-l --with-topic -r -q 1", lines.clone()).success();
        let mut expected: Vec<_> = lines.lines().collect();
        expected.sort_unstable();
        // Live messages come between the retained ones, and are not a part of the snapshot.
        let busy = Program::new("rpub").args(&broker.options());
        let busy = busy
            .args("-t r/live -m x --repeat 1000000 --repeat-delay 1ms")
            .start();
        for (version, qos) in [("311", 0), ("311", 1), ("5", 0), ("5", 1), ("5", 2)] {
            let start = Instant::now();
            let arguments = format!("-V {version} -q {qos} -t r/# -v --snapshot -W 50");
            let finished = run("rsub", &broker, &arguments, String::new()).success();
            let took = start.elapsed();
            // The end is proven, so there is no warning.
            assert_eq!(finished.errors, "", "{kind:?} {version} QoS {qos}");
            let text = finished.text();
            let mut printed: Vec<_> = text.lines().collect();
            printed.sort_unstable();
            assert_eq!(printed.len(), count, "{kind:?} {version} QoS {qos}");
            assert!(printed == expected, "{kind:?} {version} QoS {qos}");
            println!(
                "{kind:?}: {count} retained messages, version {version}, QoS {qos}: exact, {took:?}"
            );
        }
        drop(busy);
        remove_all(&broker, count);
    }
}

/// Removes all retained messages, of which the broker has this number.
fn remove_all(broker: &Broker, count: usize) {
    let start = Instant::now();
    let arguments = "-q 1 -t r/# -v --snapshot --remove-retained -W 50";
    let removed = run("rsub", broker, arguments, String::new()).success();
    assert_eq!(removed.text().lines().count(), count);
    let took = start.elapsed();
    let arguments = "-q 1 -t r/# -v --snapshot -W 50";
    let left = run("rsub", broker, arguments, String::new()).success();
    assert_eq!(left.text(), "");
    println!("{count} retained messages removed: {took:?}");
}

#[test]
fn a_snapshot_of_rbroker_has_each_retained_message_and_ends() {
    take_snapshots(Kind::Rbroker);
}

#[test]
fn a_snapshot_of_mosquitto_has_each_retained_message_and_ends() {
    if has_mosquitto("snapshots") {
        take_snapshots(Kind::Mosquitto);
    }
}

/// Serves one snapshot of topic `a` as a broker that answers before it sends the retained message. Returns what rsub
/// printed.
fn snapshot_of_a_late_message(arguments: &str) -> tests::Finished {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let command = Program::new("rsub").args(&format!("-h 127.0.0.1 -p {port} -t a -d --snapshot"));
    let running = command.args(arguments).start();
    let (mut stream, _) = listener.accept().unwrap();
    let mut exchange = |length: usize, answer: &[u8]| {
        stream.read_exact(&mut vec![0; length]).unwrap();
        stream.write_all(answer).unwrap();
    };
    exchange(14, &[0x20, 2, 0, 0]); // CONNECT
    exchange(8, &[0x90, 3, 0, 1, 0]); // SUBSCRIBE
    exchange(26, &[0x90, 3, 0, 2, 0x80]); // SUBSCRIBE to the version, which this broker rejects
    exchange(20, &[0xB0, 2, 0, 3]); // UNSUBSCRIBE
    running.wait_for_error("received UNSUBACK");
    exchange(0, b"\x31\x07\x00\x01alate"); // PUBLISH with RETAIN
    exchange(20, &[0xB0, 2, 0, 4]); // UNSUBSCRIBE
    running.wait().success()
}

#[test]
fn a_snapshot_of_an_unknown_broker_ends_after_silence() {
    let warning = "Warning: The broker is neither rbroker nor mosquitto 2";
    for (arguments, warnings) in [("--idle 700ms", 0), ("", 1)] {
        let start = Instant::now();
        let finished = snapshot_of_a_late_message(arguments);
        assert_eq!(finished.text(), "late\n", "{finished:?}");
        let found = finished.errors.matches(warning).count();
        assert_eq!(found, warnings, "{finished:?}");
        assert!(start.elapsed() >= Duration::from_millis(700));
    }
}

#[test]
fn a_snapshot_does_not_end_before_every_message_is_acknowledged_completely() {
    // The broker sends a message of QoS 2, and no PUBREL after PUBREC.
    let message: &[u8] = b"\x90\x03\x00\x01\x02\x35\x06\x00\x01a\x00\x07x";
    let script: tests::Script<'_> = &[(14, b"\x20\x02\x00\x00"), (8, message), (4, b"")];
    let server = FakeServer::start(&[script], false);
    let subscriber = server.program("rsub");
    let finished = subscriber.args("-q 2 -t a --snapshot -W 500ms").run();
    assert_eq!(finished.status, 27, "{finished:?}");
    assert_eq!(finished.text(), "x\n");
    let received = server.received().concat();
    let question = b"$rsub/snapshot";
    let has_asked = received
        .windows(question.len())
        .any(|bytes| bytes == question);
    assert!(!has_asked, "{received:?}");
}

#[test]
fn a_lost_connection_ends_a_snapshot_with_a_failure() {
    let script: tests::Script<'_> = &[(14, b"\x20\x02\x00\x00"), (8, b"\x90\x03\x00\x01\x00")];
    let server = FakeServer::start(&[script], true);
    let subscriber = server.program("rsub").args("-t a --snapshot");
    let finished = subscriber.run();
    assert_eq!(finished.status, 7, "{finished:?}");
}

#[test]
fn the_version_of_the_broker_is_printed_once_if_the_user_asks_for_it() {
    let broker = Broker::start("");
    let version = format!("rbroker version {}", env!("CARGO_PKG_VERSION"));
    for (filter, expected) in [("$SYS/broker/version", version.as_str()), ("#", "")] {
        let arguments = format!("-t {filter} --snapshot");
        let finished = run("rsub", &broker, &arguments, String::new()).success();
        assert_eq!(finished.text().trim_end(), expected, "{filter}");
        assert_eq!(finished.errors, "");
    }
}

#[test]
fn a_snapshot_is_a_backup_that_rpub_restores_and_that_can_be_removed() {
    let (broker, other) = (Broker::start(""), Broker::start(""));
    let lines = "{\"topic\":\"a\",\"payload_base64\":\"/w==\",\"qos\":1,\"retain\":true,\"properties\":[{\"content_type\":\"t\"}]}\n{\"topic\":\"b\",\"payload\":\"1\",\"retain\":true}\n";
    run("rpub", &broker, "-V 5 --jsonl -q 1", lines.to_owned()).success();
    let snapshot = "-V 5 -q 1 -t # --snapshot -F %t|%x|%q|%C";
    let first = run("rsub", &broker, snapshot, String::new())
        .success()
        .text();
    assert_eq!(first, "a|ff|1|t\nb|31|1|\n");
    let backup = run(
        "rsub",
        &broker,
        "-V 5 -q 1 -t # --snapshot --jsonl",
        String::new(),
    );
    run("rpub", &other, "-V 5 --jsonl", backup.success().text()).success();
    assert_eq!(
        run("rsub", &other, snapshot, String::new())
            .success()
            .text(),
        first
    );
    let removed = run(
        "rsub",
        &other,
        "-t # --snapshot --remove-retained -F %t",
        String::new(),
    );
    assert_eq!(removed.success().text(), "a\nb\n");
    assert_eq!(
        run("rsub", &other, snapshot, String::new())
            .success()
            .text(),
        ""
    );
    let finished = run("rsub", &other, "-t # --snapshot -R", String::new());
    assert_eq!(finished.status, 1, "{finished:?}");
}

#[test]
fn diff_prints_what_was_added_changed_and_removed_since_a_backup() {
    let broker = Broker::start("");
    let publish = |arguments: &str| {
        run(
            "rpub",
            &broker,
            &format!("-V 5 -r -q 1 {arguments}"),
            String::new(),
        )
        .success();
    };
    for topic in ["s/same", "s/payload", "s/property", "s/removed", "other"] {
        publish(&format!("-t {topic} -m 1 -D publish content-type a"));
    }
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let saved = run(
        "rsub",
        &broker,
        "-V 5 -q 1 -t # --snapshot --jsonl",
        String::new(),
    );
    std::fs::write(&backup, saved.success().output).unwrap();
    let path = backup.display();
    let diff = |arguments: &str| {
        let arguments = format!("-q 1 --snapshot --diff {path} {arguments}");
        run("rsub", &broker, &arguments, String::new())
    };
    for version in ["311", "5"] {
        let finished = diff(&format!("-V {version} -t #"));
        assert_eq!(
            (finished.status, finished.text().as_str()),
            (0, ""),
            "{finished:?}"
        );
    }
    publish("-t s/payload -m 2 -D publish content-type a");
    publish("-t s/property -m 1 -D publish content-type b");
    publish("-t s/added -m 1");
    run("rpub", &broker, "-t s/removed -r -n -q 1", String::new()).success();
    run("rpub", &broker, "-t other -r -n -q 1", String::new()).success();
    let lines = |finished: &tests::Finished| {
        assert_eq!(
            (finished.status, finished.errors.as_str()),
            (1, ""),
            "{finished:?}"
        );
        let mut lines: Vec<_> = finished.text().lines().map(String::from).collect();
        lines.sort_unstable();
        lines.join(" ")
    };
    let expected = "added s/added changed s/payload changed s/property removed s/removed";
    assert_eq!(lines(&diff("-V 5 -t s/#")), expected);
    assert_eq!(
        lines(&diff("-V 5 -t s/# -t s/+")),
        expected,
        "each message comes twice"
    );
    let expected = "added s/added changed s/payload removed s/removed";
    assert_eq!(
        lines(&diff("-V 311 -t s/#")),
        expected,
        "without properties"
    );
    assert_eq!(lines(&diff("-V 5 -t # -T s/#")), "removed other");
    // Everything else is trouble, with status 2 as diff(1) has it.
    for (arguments, error) in [
        (
            "-t # --diff /no/such/file",
            "Error: Unable to read the backup '/no/such/file': No such file",
        ),
        (
            "-t # --jsonl",
            "Error: --diff cannot be combined with --jsonl.",
        ),
        ("-t # --nonsense", "Error: Unknown option '--nonsense'."),
        ("-t # -p 1", "Error: Connection refused."),
    ] {
        let finished = diff(arguments);
        assert_eq!(finished.status, 2, "{finished:?}");
        assert!(finished.errors.starts_with(error), "{finished:?}");
    }
    assert_eq!(diff("-t # -p 1 --exit-status sysexits").status, 69);
    std::fs::write(&backup, "{\"topic\":\"a\"}\nx\n").unwrap();
    let finished = diff("-t #");
    assert_eq!(finished.status, 2);
    assert!(
        finished.errors.contains("line 2: expected value"),
        "{finished:?}"
    );
}

#[test]
fn idle_ends_rsub_after_silence_and_not_before() {
    let broker = Broker::start("");
    let start = Instant::now();
    let publisher = Program::new("rpub").args(&broker.options());
    let command = Program::new("rsub").args(&broker.options());
    let running = command.args("-t a --idle 700ms -d").start();
    running.wait_for_error("received SUBACK");
    let publisher = publisher
        .args("-t a -m x --repeat 5 --repeat-delay 300ms")
        .start();
    let finished = running.wait().success();
    assert_eq!(finished.text(), "x\n".repeat(5));
    assert!(start.elapsed() >= Duration::from_millis(4 * 300 + 700));
    publisher.wait().success();
    // The time starts with the subscription, so a topic without messages ends rsub, too.
    let finished = run("rsub", &broker, "-t b --idle 100ms", String::new());
    assert_eq!(finished.success().text(), "");
}
