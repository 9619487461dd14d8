//! Attacks by connections: very many, with incomplete packets, or with sessions that begin and end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use mqtt_codec::*;
use tests::{Kind, Program};

use super::attacker::{disconnect, open_with};
use crate::ground::{Ground, ROOM};
use crate::scenario::{Limit, NO_LIMIT, SETTLE, Scale, Scenario, Site, in_memory};

/// Memory that the last fifth of the visits may use: a few pages of the allocator.
const VISITS_ROOM: u64 = 131_072;

/// Number of threads that open connections.
const THREADS: usize = 4;

pub(crate) fn scenarios() -> [Scenario; 5] {
    [
        Scenario {
            name: "A3d",
            title: "a storm of 8000 connections that are kept",
            settings: in_memory,
            limit: Limit {
                bytes: 8000 * 16_384,
                reason: "16 kB for each of 8000 connections; max_connections -1",
            },
            settle: SETTLE,
            is_quick: false,
            attack: storm,
        },
        Scenario {
            name: "A5",
            title: "no free descriptors; SIGHUP and `rbroker status`; then descriptors are free again",
            settings: with_control_socket,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: take_descriptors,
        },
        Scenario {
            name: "B10",
            title: "sessions that expire in years come and go 20,000 times",
            settings: in_memory,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: come_and_go,
        },
        Scenario {
            name: "B11",
            title: "500 connections with 380 kB of a PUBLISH each, closed again",
            settings: in_memory,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: false,
            attack: send_halves,
        },
        Scenario {
            name: "D28",
            title: "a flood of CONNECTs, 3.3 MB, and the log",
            settings: with_log,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: false,
            attack: flood,
        },
    ]
}

fn with_control_socket(site: &Site<'_>) -> Option<String> {
    let socket = site.folder.join("control");
    Some(match site.kind {
        Kind::Rbroker => format!("control_socket {}\n", socket.display()),
        Kind::Mosquitto => String::new(),
    })
}

fn with_log(site: &Site<'_>) -> Option<String> {
    let log = site.folder.join("log");
    let log = log.display();
    Some(format!("log_dest file {log}\nlog_dest stderr\n"))
}

/// Returns a CONNECT as bytes, followed by a DISCONNECT if `leaves` is set.
fn connect_bytes(connect: Connect, leaves: bool) -> Vec<u8> {
    let version = connect.protocol_version;
    let mut bytes = Vec::new();
    let mut packets = vec![PacketRef::Connect(Box::new(connect))];
    packets.extend(leaves.then(disconnect));
    for packet in packets {
        packet
            .encode(version, u32::MAX, &mut bytes)
            .expect("it fits");
    }
    bytes
}

fn storm(ground: &mut Ground) {
    let each = 2000;
    ground.begin();
    let start = Instant::now();
    let shared = &*ground;
    let opened: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| scope.spawn(move || open_many(shared, number, each)))
            .collect();
        let kept: Vec<Vec<TcpStream>> = threads
            .into_iter()
            .map(|thread| thread.join().expect("the storm does not panic"))
            .collect();
        kept.iter().map(Vec::len).sum()
    });
    let time = start.elapsed().as_secs_f64();
    ground.fact(format!("{opened} connections accepted in {time:.1} s"));
}

/// Opens connections, and after the last one waits for all CONNACK packets.
fn open_many(ground: &Ground, thread: usize, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for number in 0..count {
        if ground.time_left().is_zero() {
            break;
        }
        let name = format!("storm{thread}-{number}");
        let connect = Connect::new(ProtocolVersion::V3_1_1, name);
        streams.extend(open_with(ground, &connect_bytes(connect, false)));
    }
    streams.retain_mut(|stream| stream.read_exact(&mut [0; 4]).is_ok());
    streams
}

fn take_descriptors(ground: &mut Ground) {
    ground.begin();
    ground.limit_descriptors(40);
    let crowd: Vec<_> = (0..100)
        .filter_map(|_| TcpStream::connect_timeout(&ground.address(), tests::PEER_TIMEOUT).ok())
        .collect();
    ground.signal("HUP");
    if ground.kind == Kind::Rbroker {
        let status = Program::new("rbroker")
            .args("status --socket")
            .arg(ground.folder().join("control"))
            .run();
        let answer = match status.status {
            0 => "answers".to_owned(),
            status => format!("fails with {status}"),
        };
        ground.fact(format!("`rbroker status` {answer}"));
        ground.expect(status.status == 0, "`rbroker status` works".to_owned());
    }
    drop(crowd);
    let time = ground.serves_new_client();
    ground.fact(time.map_or_else(
        || "no new client served".to_owned(),
        |time| format!("new client served after {} ms", time.as_millis()),
    ));
    // The short form checks no times.
    let is_quick = ground.scale == Scale::Quick;
    ground.expect(
        time.is_some_and(|time| is_quick || time < Duration::from_secs(1)),
        "a new client is served within a second".to_owned(),
    );
}

fn come_and_go(ground: &mut Ground) {
    let each = match ground.scale {
        Scale::Quick => 500,
        Scale::Full | Scale::Long => 1700,
    };
    ground.begin();
    // The first visits fill buffers and arenas of the allocator, which all later visits use again.
    let first: usize = (0..4).map(|_| visit(ground, each)).sum();
    let before = ground.resident();
    let last = visit(ground, each);
    // If the memory grows now, it grows without limit.
    let grown = ground.resident().saturating_sub(before);
    ground.fact(format!(
        "{} visits; the last fifth takes {} kB",
        first + last,
        grown / 1000
    ));
    ground.expect(
        grown <= VISITS_ROOM,
        "the last fifth takes no more memory".to_owned(),
    );
}

/// Creates and ends sessions. Returns their number.
fn visit(ground: &Ground, each: usize) -> usize {
    let visit = |thread: usize| {
        let mut connect = Connect::new(ProtocolVersion::V5_0, format!("visitor{thread}"));
        connect.properties.session_expiry_interval = Some(300_000_000);
        (0..each)
            .filter(|_| !ground.time_left().is_zero() && come(ground, connect.clone()))
            .count()
    };
    let visit = &visit;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || visit(thread)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the visitors do not panic"))
            .sum()
    })
}

/// Connects, disconnects and waits for the end of the connection.
fn come(ground: &Ground, connect: Connect) -> bool {
    let Ok(mut stream) = open_with(ground, &connect_bytes(connect, true)) else {
        return false;
    };
    stream.read_to_end(&mut Vec::new()).is_ok()
}

fn send_halves(ground: &mut Ground) {
    // PUBLISH with a remaining length of 400,000.
    let mut half = vec![0x30, 0x80, 0xB5, 0x18, 0, 1, b'h'];
    half.resize(380_000, b'x');
    let connect = |number: usize| {
        let connect = Connect::new(ProtocolVersion::V3_1_1, format!("half{number}"));
        connect_bytes(connect, false)
    };
    ground.begin();
    let mut open = Vec::new();
    for number in 0..500 {
        if ground.time_left().is_zero() {
            break;
        }
        let Ok(mut stream) = open_with(ground, &connect(number)) else {
            break;
        };
        let _ = stream.set_write_timeout(Some(tests::PEER_TIMEOUT));
        if stream.write_all(&half).is_ok() {
            ground.meter().add(half.len() as u64);
        }
        open.push(stream);
    }
    // When the broker answers a new client, it has read everything that was sent before.
    let _ = ground.serves_new_client();
    let count = open.len();
    drop(open);
    let before = ground.before();
    let bound = before + before / 2 + ROOM;
    let start = Instant::now();
    let limit = match ground.kind {
        Kind::Rbroker => Duration::from_secs(60),
        Kind::Mosquitto => SETTLE,
    };
    while ground.resident() > bound && start.elapsed() < limit {
        thread::sleep(Duration::from_millis(200));
    }
    let is_back = ground.resident() <= bound;
    ground.fact(format!(
        "{count} connections; memory {}",
        if is_back {
            format!("back after {:.0} s", start.elapsed().as_secs_f64())
        } else {
            "not back".to_owned()
        }
    ));
    ground.expect(is_back, "memory comes back within a minute".to_owned());
}

fn flood(ground: &mut Ground) {
    ground.begin();
    // The store does not need these client identifiers, and their length makes the log lines long.
    let padding = "x".repeat(130);
    let shared = &*ground;
    let padding = &padding;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..5000 {
                    let name = format!("flood{thread}-{number}-{padding}");
                    let connect = Connect::new(ProtocolVersion::V3_1_1, name);
                    if shared.time_left().is_zero() || !come(shared, connect) {
                        break;
                    }
                }
            });
        }
    });
    let log = std::fs::metadata(ground.folder().join("log")).map_or(0, |file| file.len());
    let sent = ground.sent();
    ground.fact(format!("log {:.1} MB", log as f64 / 1e6));
    ground.expect(
        log <= sent,
        "the log is not larger than the flood".to_owned(),
    );
}
