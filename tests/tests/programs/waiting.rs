//! Programs that wait: for a broker that is not there yet, for a new connection, and for as long as the options allow.
#![cfg(unix)]

use std::io::Write;

use tests::{Broker, FakeServer, Program, free_port};

use super::exit_status::{ACCEPT, CONNECT};

#[test]
fn programs_wait_for_a_broker_that_starts_late() {
    let port = free_port();
    let target = format!("-h 127.0.0.1 -p {port}");
    let publisher = Program::new("rpub").args(&target);
    let publisher = publisher.args("-t x -m y -q 1 --wait 60").start();
    publisher.wait_for_error("Trying again");
    let port = port.to_string();
    let broker = Program::new("rbroker").arg("-p").arg(&port).start();
    broker.wait_for_error("running.");
    publisher.wait().success();
    // `--wait` ends in any case.
    let nobody = "-h 127.0.0.1 -p 1 -t x -m y --wait 200ms";
    let finished = Program::new("rpub").args(nobody).run();
    assert_eq!(finished.status, 1, "{finished:?}");
    assert!(
        finished.errors.contains("Error: Connection refused"),
        "{finished:?}"
    );
}

#[test]
fn rsub_tries_again_until_the_time_of_reconnect_max() {
    let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let server = FakeServer::start(&[script], true);
    let subscriber = server.program("rsub");
    let subscriber = subscriber.args("-t a --reconnect-max 1").start();
    server.received(); // the server has ended
    let finished = subscriber.wait();
    assert_eq!(finished.status, 1, "{finished:?}");
    assert!(finished.errors.contains("Trying again"), "{finished:?}");
}

#[test]
fn client_does_not_reconnect_after_its_session_is_taken_over() {
    let broker = Broker::start("");
    let start = || {
        let command = broker.program("rsub");
        command.args("-i same -V 5 -t x -d").start()
    };
    let first = start();
    first.wait_for_error("Subscribed");
    let second = start();
    second.wait_for_error("Subscribed");
    let finished = first.wait();
    assert_eq!(finished.status, 4, "{finished:?}");
    assert!(
        finished.errors.contains("Session taken over"),
        "{finished:?}"
    );
}

#[test]
fn rejection_at_the_second_connection_ends_rsub() {
    let first: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let second: tests::Script<'_> = &[(CONNECT, &[0x20, 2, 0, 5])];
    let server = FakeServer::start(&[first, second], true);
    let finished = server.program("rsub").args("-t a").run();
    assert_eq!(finished.status, 5, "{finished:?}");
}

#[test]
fn reconnects_if_the_server_is_busy_at_the_second_connection() {
    let first: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let second: tests::Script<'_> = &[(CONNECT, &[0x20, 2, 0, 3])];
    let third: tests::Script<'_> = &[
        (CONNECT, ACCEPT),
        (8, b"\x90\x03\x00\x01\x00\x30\x04\x00\x01a1"),
    ];
    let server = FakeServer::start(&[first, second, third], true);
    let finished = server.program("rsub").args("-t a -C 1").run();
    assert_eq!(finished.success().text(), "1\n");
}

#[test]
fn lines_are_given_up_and_counted_when_the_broker_stays_down() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT), (8, b"")]], true);
    let publisher = server.program("rpub");
    let arguments = "-t x -l -q 1 --reconnect-max 1";
    let (publisher, mut input) = publisher.args(arguments).start_with_input();
    input.write_all(b"y\nz\n").unwrap();
    server.received(); // the server has ended
    let finished = publisher.wait();
    assert_eq!(finished.status, 1, "{finished:?}");
    let count = "0 of 2 messages acknowledged, ";
    assert!(finished.errors.contains(count), "{finished:?}");
}

/// Returns the CPU time of a process in hundredths of a second.
#[cfg(target_os = "linux")]
fn ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn waiting_for_a_broker_uses_no_cpu_time() {
    for (program, arguments) in [
        ("rsub", "-t x -i c --message-rate"),
        (
            "rpub",
            "-t x -i c -m y -q 1 --repeat 100 --repeat-delay 0.1 --reconnect-max 60",
        ),
    ] {
        let mut broker = Broker::start("");
        let command = broker.program(program);
        let running = command.args(arguments).start();
        let sign = if program == "rsub" {
            "Sending SUBACK to c"
        } else {
            "Sending PUBACK to c"
        };
        broker.wait_for_log(sign);
        broker.running.kill();
        running.wait_for_errors("Connection refused", 2);
        let worked = ticks(running.id());
        assert!(worked < 30, "{program}: {worked}");
    }
}

#[test]
fn unlimited_times_are_treated_as_a_century() {
    for arguments in [
        "--connect-timeout 1e19",
        "--wait 0 --reconnect-max 1e300",
        "-A 127.0.0.1 --connect-timeout 1e19",
    ] {
        let publisher = Program::new("rpub").args("-h 127.0.0.1 -p 1 -t a -m x");
        let finished = publisher.args(arguments).run();
        assert_eq!(finished.status, 1, "{finished:?}");
    }
}
