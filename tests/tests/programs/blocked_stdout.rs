//! Readers of standard output and standard error that end or stop reading. The programs still serve the network and
//! signals, and acknowledge no message that was not written.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tests::{Broker, Kind, PATIENCE, RawClient, programs};

const CONNECT: usize = 14; // the length of CONNECT in 3.1.1 without identifier
const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

/// Starts rsub with its standard output in a pipe that the test does not read.
fn start_blocked(options: &str, arguments: &str) -> Child {
    Command::new(programs().join("rsub"))
        .args(options.split(' '))
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn rsub_ends_without_a_further_message_when_its_pipe_is_closed() {
    let broker = Broker::start("");
    let mut child = start_blocked(&broker.options(), "-i r -t x");
    broker.wait_for_log("Sending SUBACK to r");
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    broker.wait_for_log("Received DISCONNECT from r");
}

/// The retained messages are more than the queue of a client and the pipe have room for.
#[test]
fn reader_that_pauses_gets_the_messages_published_meanwhile() {
    const PAYLOAD: usize = 1000;
    let broker = Broker::start_silent(Kind::Rbroker, "");
    let mut filler = RawClient::connect(broker.address(), 4, "filler");
    for number in 0..3000 {
        let topic = format!("home/{number}");
        let topic = [&[0, topic.len() as u8][..], topic.as_bytes(), &[0, 1]].concat();
        let length = topic.len() + PAYLOAD;
        let header = [0x33, length as u8 | 0x80, (length >> 7) as u8];
        filler.send(&[&header[..], &topic, &[b'o'; PAYLOAD]].concat());
        assert_eq!(filler.read(4), [0x40, 2, 0, 1]);
    }
    let mut child = start_blocked(&broker.options(), "-t home/# -q 1 -v");
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = std::sync::mpsc::channel();
    let (start, started) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut lines = output.lines().map_while(Result::ok);
        let _ = sender.send(lines.next().is_some());
        let _ = started.recv();
        let _ = sender.send(lines.any(|line| line == "home/2500 NEW"));
    });
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(true));
    let publisher = broker.program("rpub");
    let publisher = publisher.args("-t home/2500 -r -q 1 -m NEW");
    publisher.run().success();
    start.send(()).unwrap();
    let is_there = receiver.recv_timeout(PATIENCE);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    assert_eq!(is_there, Ok(true));
}

/// A server that sends messages as fast as the client reads.
struct Blaster {
    stream: TcpStream,
    sent: usize,
}

impl Blaster {
    /// Answers CONNECT and SUBSCRIBE.
    fn accept(listener: &TcpListener) -> Self {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_exact(&mut [0; CONNECT]).unwrap();
        stream.write_all(ACCEPT).unwrap();
        stream.read_exact(&mut [0; 8]).unwrap();
        stream.write_all(b"\x90\x03\x00\x01\x01").unwrap();
        Self { stream, sent: 0 }
    }

    /// Sends packets until all are sent, or the socket accepts no bytes for a second.
    fn blast(&mut self, packets: &[u8]) {
        let second = std::time::Duration::from_secs(1);
        self.stream.set_write_timeout(Some(second)).unwrap();
        while self.sent < packets.len() {
            match self.stream.write(&packets[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(_) => return,
            }
        }
    }

    /// Returns the bytes that the client sends, up to `end` or until it closes the connection.
    fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut said = Vec::new();
        let mut block = [0; 4096];
        while !said.ends_with(end) || end.is_empty() {
            match self.stream.read(&mut block) {
                Ok(count @ 1..) => said.extend_from_slice(&block[..count]),
                _ => break,
            }
        }
        said
    }
}

#[test]
#[cfg(target_os = "linux")]
fn full_pipe_stops_messages_but_not_pings() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut child = start_blocked(
        &format!("-h 127.0.0.1 -p {port}"),
        "-t a -k 5 -C 60000 -q 1",
    );
    let mut server = Blaster::accept(&listener);
    // 60,000 messages of QoS 0 with a kilobyte each.
    let mut packet = b"\x30\xEB\x07\x00\x01a".to_vec();
    packet.resize(6 + 1000, b'x');
    let packets = packet.repeat(60_000);
    server.blast(&packets);
    assert!(server.sent < 40_000_000, "the client stops reading");
    // The client only sends PINGREQ every five seconds. It reads no PINGRESP, because it does not read at all, and must
    // not take that for a failure.
    for _ in 0..2 {
        assert_eq!(server.read_until(&[0xC0, 0]), [0xC0, 0]);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: u32 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 24_000, "{kilobytes} kB");
    // When standard output is read again, no message is missing.
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).map(|_| output.len())
    });
    while server.sent < packets.len() {
        server.blast(&packets);
    }
    assert_eq!(reader.join().unwrap().unwrap(), 60_000 * 1001);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn acknowledges_only_messages_that_are_written() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut child = start_blocked(&format!("-h 127.0.0.1 -p {port}"), "-t a -q 1 -k 5 -i c -c");
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut [0; CONNECT + 1]).unwrap();
    stream.write_all(ACCEPT).unwrap();
    stream.read_exact(&mut [0; 8]).unwrap();
    stream.write_all(b"\x90\x03\x00\x01\x01").unwrap();
    // 100 messages have 400 kB. The pipe has room for 64 kB.
    for identifier in 1..=100_u8 {
        let mut packet = b"\x32\xA5\x1F\x00\x01a\x00".to_vec();
        packet.push(identifier);
        packet.resize(3 + 4005, b'x');
        stream.write_all(&packet).unwrap();
    }
    let mut server = Blaster { stream, sent: 0 };
    let said = server.read_until(&[0xC0, 0]);
    let acknowledged = (said.len() - 2) / 4;
    assert!(acknowledged < 100, "{acknowledged}");
    let mut kill = Command::new("kill");
    kill.args(["-s", "KILL", &child.id().to_string()]);
    assert!(kill.status().unwrap().success());
    child.wait().unwrap();
    let mut written = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut written)
        .unwrap();
    assert!(
        written.len() / 4001 >= acknowledged,
        "{acknowledged} of {}",
        written.len()
    );
}

#[test]
fn signal_ends_rsub_while_its_pipe_is_full() {
    let broker = Broker::start("max_queued_messages 0");
    let mut child = start_blocked(&broker.options(), "-i s -t x -q 1");
    broker.wait_for_log("Sending SUBACK to s");
    let lines = vec![b'x'; 1000]
        .into_iter()
        .chain([b'\n'])
        .collect::<Vec<_>>()
        .repeat(2000);
    let publisher = broker.program("rpub");
    publisher.args("-t x -l -q 1").input(lines).run().success();
    let mut kill = Command::new("kill");
    kill.args(["-s", "TERM", &child.id().to_string()]);
    assert!(kill.status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn full_pipe_of_the_trace_stops_neither_messages_nor_signals() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut child = Command::new(programs().join("rsub"))
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            "a",
            "--trace",
            "-q",
            "1",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Blaster::accept(&listener);
    let packets = b"\x30\x04\x00\x01ax".repeat(20_000);
    while server.sent < packets.len() {
        server.blast(&packets);
    }
    // rsub has read all messages, and still acknowledges the next one.
    server
        .stream
        .write_all(b"\x32\x06\x00\x01a\x00\x01x")
        .unwrap();
    assert_eq!(server.read_until(b"\x40\x02\x00\x01"), b"\x40\x02\x00\x01");
    let mut kill = Command::new("kill");
    kill.args(["-s", "TERM", &child.id().to_string()]);
    assert!(kill.status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
