//! The resident memory of a broker must be returned to the system after a burst.
#![cfg(target_os = "linux")]

use std::thread;
use std::time::{Duration, Instant};

use tests::{Broker, Kind, RawClient};

/// Maximum time until the memory is returned after a burst.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the resident memory of the broker in bytes.
fn resident(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.running.id())).unwrap();
    let mut lines = status.lines();
    let line = lines.find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// Returns the fixed header of a PUBLISH with this first byte and a body of `length` bytes.
fn head(first: u8, mut length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    loop {
        let more = u8::from(length > 127) << 7;
        bytes.push((length % 128) as u8 | more);
        length /= 128;
        if length == 0 {
            return bytes;
        }
    }
}

/// Waits until the memory is at most 1.5 times `before`, plus 4 MB.
fn wait_until_memory_is_back(broker: &Broker, before: u64) {
    let start = Instant::now();
    while resident(broker) > before * 3 / 2 + 4_000_000 {
        let now = resident(broker);
        assert!(start.elapsed() < DEADLINE, "{now} bytes, {before} before");
        // The broker must stay idle, so that only its allocator returns memory.
        thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn memory_of_incomplete_packets_is_released() {
    const SIZE: usize = 350_000;
    const PIECE: usize = 16_000;
    let broker = Broker::start_silent(Kind::Rbroker, "");
    let connect = |name: &str| RawClient::connect(broker.address(), 4, name);
    let mut bystander = connect("bystander");
    bystander.ping();
    let before = resident(&broker);
    let mut clients: Vec<_> = (0..500).map(|n| connect(&format!("c{n}"))).collect();
    // The buffers grow in turns, and clients that stay connected allocate small blocks between and above them.
    let mut staying = Vec::new();
    for round in 0..SIZE / PIECE {
        for client in &mut clients {
            if round == 0 {
                client.send(&head(0x30, SIZE));
            }
            client.send(&[1; PIECE]);
        }
        staying.push(connect(&format!("s{round}")));
    }
    let start = Instant::now();
    while resident(&broker) < 100_000_000 {
        assert!(start.elapsed() < DEADLINE, "{} bytes", resident(&broker));
        thread::yield_now();
    }
    let mut half = clients.split_off(250);
    drop(clients);
    staying.push(connect("last"));
    half.clear();
    wait_until_memory_is_back(&broker, before);
    bystander.ping();
    staying.iter_mut().for_each(RawClient::ping);
}

#[test]
fn memory_of_removed_retained_messages_is_released() {
    let broker = Broker::start_silent(Kind::Rbroker, "");
    let connect = |name: &str| RawClient::connect(broker.address(), 4, name);
    let mut publisher = connect("publisher");
    let before = resident(&broker);
    let mut staying = Vec::new();
    for payload in [&[0; 40_000][..], &[]] {
        for number in 0..1000_u16 {
            let topic_name = format!("{number:04}");
            let body = [&[0, 4], topic_name.as_bytes(), &[0, 1], payload].concat();
            publisher.send(&head(0x33, body.len()));
            publisher.send(&body);
            assert_eq!(publisher.read(4), [0x40, 2, 0, 1]);
            if number % 100 == 0 {
                staying.push(connect(&format!("{}-{number}", payload.len())));
            }
        }
        if !payload.is_empty() {
            assert!(resident(&broker) > 40_000_000);
        }
    }
    wait_until_memory_is_back(&broker, before);
    staying.iter_mut().for_each(RawClient::ping);
}

#[test]
fn a_flood_stays_below_memory_limit_and_the_broker_recovers() {
    const LIMIT: u64 = 20_000_000;
    // Memory that the limit does not count: as much free memory again that is not returned yet, the pages of the
    // program, and bytes that are read between two measurements.
    const MARGIN: u64 = LIMIT + 20_000_000;
    let settings = format!("memory_limit {LIMIT}\nmax_queued_messages 0");
    let broker = Broker::start_silent(Kind::Rbroker, &settings);
    let connect = |name: &str| RawClient::connect(broker.address(), 5, name);
    let mut bystander = connect("bystander");
    let mut publisher = connect("publisher");
    let mut half: Vec<_> = (0..100).map(|n| connect(&format!("c{n}"))).collect();
    // The incomplete packets have 100 MB in total.
    for round in 0..100 {
        for client in &mut half {
            if round == 0 {
                client.send(&head(0x30, 1_900_000));
            }
            client.send(&[1; 10_000]);
        }
        let now = resident(&broker);
        assert!(now < LIMIT + MARGIN, "{now} bytes");
        bystander.ping();
    }
    broker.wait_for_log("The memory in use exceeds memory_limit");
    drop(half);
    broker.wait_for_log("The memory in use is below memory_limit again");
    // The retained messages have 120 MB in total.
    let mut is_refused = false;
    for number in 0..2000_u16 {
        let topic_name = format!("{number:04}");
        let payload = &[0; 60_000][..];
        let body = [&[0, 4], topic_name.as_bytes(), &[0, 1, 0], payload].concat();
        publisher.send(&head(0x33, body.len()));
        publisher.send(&body);
        let header = publisher.read(2);
        let rest = publisher.read(header[1].into());
        is_refused |= rest.get(2) == Some(&0x97);
        let now = resident(&broker);
        assert!(now < LIMIT + MARGIN, "{now} bytes");
    }
    assert!(is_refused);
    bystander.ping();
    // After their removal the memory is below the limit, and the broker accepts messages again.
    for number in 0..2000_u16 {
        let topic_name = format!("{number:04}");
        let body = [&[0, 4], topic_name.as_bytes(), &[0, 1, 0]].concat();
        publisher.send(&head(0x33, body.len()));
        publisher.send(&body);
        let header = publisher.read(2);
        publisher.read(header[1].into());
    }
    publisher.send(&[0x32, 8, 0, 1, b't', 0, 1, 0, b'o', b'k']);
    let header = publisher.read(2);
    let rest = publisher.read(header[1].into());
    assert_ne!(rest.get(2), Some(&0x97));
    connect("new").ping();
}
