//! Standard streams in non-blocking mode, which a parent process that shares them may have set.
#![cfg(unix)]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use tests::Broker;

/// Returns a stream in non-blocking mode for a program, and its other end. The system buffers a few kilobytes, so a
/// program that does not wait finds the stream empty or full many times.
fn stream() -> (Stdio, UnixStream) {
    let (theirs, ours) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    for end in [&theirs, &ours] {
        socket2::SockRef::from(end)
            .set_send_buffer_size(4096)
            .unwrap();
        end.set_read_timeout(Some(tests::PATIENCE)).unwrap();
    }
    (OwnedFd::from(theirs).into(), ours)
}

/// Starts a program with one of its streams replaced. The test keeps no copy of the stream, so that it notices its end.
fn start(
    program: &str,
    broker: &Broker,
    arguments: &str,
    replace: impl FnOnce(&mut Command) -> &mut Command,
) -> Child {
    let mut command = Command::new(tests::programs().join(program));
    let options = format!("{} {arguments}", broker.options());
    command.args(options.split_whitespace());
    replace(&mut command).spawn().unwrap()
}

fn succeeds(mut child: Child) {
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn start_subscriber(broker: &Broker, count: usize) -> tests::Running {
    let subscriber = broker.program("rsub");
    let arguments = format!("-i s -t a -q 1 -C {count}");
    let subscriber = subscriber.args(&arguments).start();
    broker.wait_for_log("Sending SUBACK to s");
    subscriber
}

#[test]
fn rpub_waits_for_lines_on_a_non_blocking_standard_input() {
    let broker = Broker::start("");
    let subscriber = start_subscriber(&broker, 2);
    let (theirs, mut ours) = stream();
    let publisher = start("rpub", &broker, "-t a -q 1 -l", |c| c.stdin(theirs));
    for line in ["first\n", "second\n"] {
        ours.write_all(line.as_bytes()).unwrap();
        subscriber.wait_for_output(line);
    }
    drop(ours);
    succeeds(publisher);
}

#[test]
#[cfg(target_os = "linux")]
fn rpub_waits_for_a_payload_on_a_non_blocking_standard_input() {
    let broker = Broker::start("");
    let subscriber = start_subscriber(&broker, 1);
    let (theirs, mut ours) = stream();
    let publisher = start("rpub", &broker, "-t a -q 1 -s", |c| c.stdin(theirs));
    wait_until_it_sleeps(&publisher);
    ours.write_all(b"late").unwrap();
    drop(ours);
    succeeds(publisher);
    assert_eq!(subscriber.wait().success().text(), "late\n");
}

/// Waits until a program sleeps in a system call, or has ended.
#[cfg(target_os = "linux")]
fn wait_until_it_sleeps(child: &Child) {
    let start = std::time::Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let (_, state) = stat.rsplit_once(") ").unwrap();
        if state.starts_with(['S', 'Z']) {
            return;
        }
        assert!(start.elapsed() < tests::PATIENCE, "{stat}");
        std::thread::yield_now();
    }
}

#[test]
fn rsub_prints_everything_to_a_non_blocking_standard_output() {
    const COUNT: usize = 5000;
    let broker = Broker::start("max_queued_messages 0");
    let (theirs, mut ours) = stream();
    let arguments = format!("-i s -t a -q 1 -C {COUNT}");
    let subscriber = start("rsub", &broker, &arguments, |c| c.stdout(theirs));
    broker.wait_for_log("Sending SUBACK to s");
    let publisher = broker.program("rpub");
    let lines = format!("{}\n", "x".repeat(100)).repeat(COUNT);
    let publisher = publisher.args("-t a -q 1 -l").input(lines.clone());
    publisher.run().success();
    // The test has read nothing yet, and the buffers of the system are smaller than the output.
    let mut printed = String::new();
    ours.read_to_string(&mut printed).unwrap();
    assert_eq!(printed.len(), lines.len());
    succeeds(subscriber);
}

#[test]
fn all_packet_lines_reach_a_non_blocking_standard_error() {
    const COUNT: usize = 5000;
    let broker = Broker::start("");
    let (theirs, mut ours) = stream();
    let arguments = format!("-t a -m x -q 1 -d --repeat {COUNT}");
    let publisher = start("rpub", &broker, &arguments, |c| c.stderr(theirs));
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("sending PUBLISH").count(), COUNT);
    succeeds(publisher);
}
