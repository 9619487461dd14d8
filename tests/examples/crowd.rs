//! Measures many connections at once, at rbroker and at mosquitto in turns: the memory of idle connections, and the
//! delay that slow consumers cause for others. `cargo xtask crowd` runs this program. It prints the figures and checks
//! no limit.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::{Broker, Kind, RawClient, find};

const IDLE: usize = 10_000;
const SLOW: usize = 1000;
const QUICK: usize = 10;
const MESSAGES: usize = 5000;
const ROUNDS: usize = 3;

/// The number of messages after which the windows and queues of the slow consumers are full. Until then the broker also
/// serves the slow ones.
const FILLING: usize = 1500;

/// Returns the resident memory of a process in kB.
fn resident(process: u32) -> u64 {
    tests::resident_memory(process).expect("it runs") / 1024
}

fn subscribe(client: &mut RawClient, topic: &str, qos: u8) {
    let length = topic.len() as u8;
    // The packet is written in one piece, because small writes wait for each other's acknowledgement.
    let start = [0x82, length + 5, 0, 1, 0, length];
    client.send(&[&start, topic.as_bytes(), &[qos]].concat());
    assert_eq!(client.read(5), [0x90, 3, 0, 1, qos]);
}

/// Returns the memory of the broker without clients in kB, and the bytes for each idle connection.
fn idle(kind: Kind) -> (u64, f64) {
    let broker = Broker::start_silent(kind, "sys_interval 0\nmax_connections -1");
    let before = resident(broker.running.id());
    let clients: Vec<_> = (0..IDLE)
        .map(|number| {
            let mut client = RawClient::connect(broker.address(), 4, &format!("c{number}"));
            subscribe(&mut client, &format!("idle/{number}"), 0);
            client
        })
        .collect();
    let after = resident(broker.running.id());
    drop(clients);
    (before, (after - before) as f64 * 1024.0 / IDLE as f64)
}

/// Returns the sorted times from sending to receiving in microseconds: while the slow consumers fill up, and
/// afterwards.
fn latencies(kind: Kind, slow: usize) -> [Vec<u64>; 2] {
    let broker = Broker::start_silent(kind, "sys_interval 0\nmax_connections -1");
    let address = broker.address();
    let slow: Vec<_> = (0..slow)
        .map(|number| {
            let mut client = RawClient::connect(address, 4, &format!("s{number}"));
            subscribe(&mut client, "t", 1); // this client reads nothing more
            client
        })
        .collect();
    let start = Instant::now();
    let quick: Vec<_> = (0..QUICK)
        .map(|number| {
            let mut client = RawClient::connect(address, 4, &format!("q{number}"));
            subscribe(&mut client, "t", 0);
            thread::spawn(move || {
                let mut times = Vec::with_capacity(MESSAGES);
                for _ in 0..MESSAGES {
                    let packet = client.read(5 + 64);
                    let sent = u64::from_be_bytes(packet[5..13].try_into().expect("8 bytes"));
                    times.push(start.elapsed().as_micros() as u64 - sent);
                }
                times
            })
        })
        .collect();
    let publisher = TcpStream::connect(address).expect("it listens");
    publisher.set_nodelay(true).expect("it is a socket");
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledgements = publisher.try_clone().expect("it is a socket");
    let reader = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                if !matches!((&acknowledgements).read(&mut buffer), Ok(1..)) {
                    break;
                }
            }
        }
    });
    publish(&publisher, start);
    let mut all = [Vec::new(), Vec::new()];
    for quick in quick {
        let times = quick.join().expect("each gets all");
        let (filling, full) = times.split_at(FILLING);
        all[0].extend(filling);
        all[1].extend(full);
    }
    stop.store(true, Ordering::Relaxed);
    let _ = publisher.shutdown(Shutdown::Both);
    reader.join().expect("it ends");
    drop(slow);
    all.iter_mut().for_each(|times| times.sort_unstable());
    all
}

/// Publishes a message of QoS 1 each millisecond. The payload starts with the time.
fn publish(mut stream: &TcpStream, start: Instant) {
    use std::io::Write;
    stream
        .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01p")
        .expect("it reads");
    for number in 0..MESSAGES {
        let due = start + Duration::from_millis(number as u64 + 100);
        thread::sleep(due.saturating_duration_since(Instant::now())); // one message each millisecond
        let identifier = (number % 60_000 + 1) as u16;
        let mut packet = vec![0x32, 5 + 64, 0, 1, b't'];
        packet.extend(identifier.to_be_bytes());
        packet.extend((start.elapsed().as_micros() as u64).to_be_bytes());
        packet.resize(2 + 5 + 64, b'x');
        stream.write_all(&packet).expect("it reads");
    }
}

fn main() {
    let kinds: &[(&str, Kind)] = match find("mosquitto") {
        Some(_) => &[("rbroker", Kind::Rbroker), ("mosquitto", Kind::Mosquitto)],
        None => &[("rbroker", Kind::Rbroker)],
    };
    println!("{IDLE} idle connections, each with a subscription:");
    for (name, kind) in kinds {
        let (alone, each) = idle(*kind);
        println!("  {name:10} {alone} kB alone, {each:.0} bytes for each connection");
    }
    println!("{QUICK} quick consumers beside slow ones that never read, 1000 messages a second:");
    for round in 1..=ROUNDS {
        for (name, kind) in kinds {
            let show = |times: &[u64]| (times[times.len() / 2], times[times.len() * 99 / 100]);
            let (alone, beside) = (latencies(*kind, 0), latencies(*kind, SLOW));
            for (part, when) in ["while they fill", "then"].into_iter().enumerate() {
                let ((p50, p99), (p50_slow, p99_slow)) = (show(&alone[part]), show(&beside[part]));
                println!(
                    "  round {round} {name:10} {when:16} alone p50 {p50} us, p99 {p99} us; beside {SLOW} slow \
                     p50 {p50_slow} us, p99 {p99_slow} us: p99 x {:.2}",
                    p99_slow as f64 / p99 as f64
                );
            }
        }
    }
}
