//! Which server a client turns to: several hosts, references, service records.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;

use tests::{Broker, FakeServer, Program};

/// Another address of this machine, where the brokers of the tests do not listen.
const OTHER: &str = "127.0.0.2";

fn other(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port))
}

#[test]
fn the_next_host_is_asked_when_one_is_down_or_has_no_time() {
    let broker = Broker::start("");
    let port = broker.port;
    let publish = || {
        Program::new("rpub")
            .args(&format!(
                "-h {OTHER} -h 127.0.0.1 -p {port} -t a -m x -q 1 -i me"
            ))
            .run()
    };
    let down = publish().success();
    let expected = format!(
        "Warning: Connection refused. Is there a broker on {OTHER}:{port}? Trying 127.0.0.1:{port}.\n"
    );
    assert_eq!(down.errors, expected);
    let _busy = FakeServer::start_at(other(port), &[&[(16, &[0x20, 2, 0, 3])]], true);
    let busy = publish().success();
    assert!(busy.errors.contains("broker unavailable"), "{busy:?}");
}

#[test]
fn a_refusal_that_is_about_the_client_is_not_taken_elsewhere() {
    let broker = Broker::start("");
    let port = broker.port;
    let _strict = FakeServer::start_at(other(port), &[&[(16, &[0x20, 2, 0, 5])]], true);
    let finished = Program::new("rpub")
        .args(&format!(
            "-h {OTHER} -h 127.0.0.1 -p {port} -t a -m x -i me"
        ))
        .run();
    assert_eq!(finished.status, 5, "{finished:?}");
}

#[test]
fn all_hosts_are_named_when_none_can_be_reached() {
    let port = FakeServer::start(&[], true).address.port();
    let finished = Program::new("rpub")
        .args(&format!("-h 127.0.0.1 -h {OTHER} -p {port} -t a -m x"))
        .run();
    assert_eq!(finished.status, 1);
    let expected = format!(
        "Warning: Connection refused. Is there a broker on 127.0.0.1:{port}? Trying {OTHER}:{port}.\n\
         Error: Connection refused. Is there a broker on {OTHER}:{port}?\n"
    );
    assert_eq!(finished.errors, expected);
}

#[test]
fn a_subscriber_turns_to_the_next_host_when_its_own_is_gone() {
    let mut first = Broker::start("");
    let port = first.port;
    let second = Broker::start(&format!("listener {port} {OTHER}"));
    let subscriber = Program::new("rsub")
        .args(&format!(
            "-h 127.0.0.1 -h {OTHER} -p {port} -t a -q 1 -C 1 -i me"
        ))
        .start();
    first.wait_for_log("Sending SUBACK to me");
    first.running.kill();
    second.wait_for_log("Sending SUBACK to me");
    let publish = format!("-h {OTHER} -p {port} -t a -m there -q 1");
    Program::new("rpub").args(&publish).run().success();
    assert_eq!(subscriber.wait().success().text(), "there\n");
}

#[test]
fn what_is_typed_replaces_the_hosts_of_the_options_file() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rpub"), "-h 127.0.0.9\n-h 127.0.0.8\n").unwrap();
    let publish = |options: &str| {
        Program::new("rpub")
            .env("XDG_CONFIG_HOME", folder.path().to_str().unwrap())
            .args(options)
            .args(&format!("-p {} -t a -m x -q 1", broker.port))
            .run()
    };
    assert_eq!(publish("-h 127.0.0.1").success().errors, "");
    // A URL replaces what stands before it, and what stands behind it replaces the URL.
    let url = format!("-L mqtt://127.0.0.9:{}/a", broker.port);
    assert_eq!(publish(&format!("{url} -h 127.0.0.1")).success().errors, "");
    assert!(publish("").errors.contains("127.0.0.8"));
}

/// A CONNACK, or a DISCONNECT, of 5.0 with a Server Reference.
fn referring(first: &[u8], reason_code: u8, reference: &str) -> Vec<u8> {
    let property = [&[0x1C, 0, reference.len() as u8], reference.as_bytes()].concat();
    let mut rest = first[1..].to_vec();
    rest.extend([reason_code, property.len() as u8]);
    rest.extend(property);
    [&[first[0], rest.len() as u8], &rest[..]].concat()
}

#[test]
fn a_server_reference_is_followed() {
    let broker = Broker::start("");
    let reference = format!("nowhere.invalid:1 {}", broker.address());
    for reason_code in [0x9C, 0x9D] {
        let connack = referring(&[0x20, 0], reason_code, &reference);
        let server = FakeServer::start(&[&[(20, &connack)]], true);
        let finished = Program::new("rpub")
            .args(&server.options())
            .args("-V 5 -t a -m x -q 2 -i me")
            .run()
            .success();
        let expected = format!("Trying {}.", broker.address());
        assert!(finished.errors.contains(&expected), "{finished:?}");
    }
    broker.wait_for_log("Sending PUBCOMP to me");
    // With DISCONNECT, in the middle of a connection.
    let retained = format!("{} -t a -m kept -r -q 1", broker.options());
    Program::new("rpub").args(&retained).run().success();
    let disconnect = referring(&[0xE0], 0x9C, &broker.address().to_string());
    let accept = [0x20, 3, 0, 0, 0];
    let server = FakeServer::start(&[&[(20, &accept), (9, &disconnect)]], true);
    let finished = Program::new("rsub")
        .args(&server.options())
        .args("-V 5 -t a -C 1 -i me")
        .run()
        .success();
    assert_eq!(finished.text(), "kept\n");
}

#[test]
fn servers_that_refer_to_each_other_are_left_in_the_end() {
    // It refers to another name of its own, each time.
    let server = FakeServer::start(&[], true);
    let address = server.address;
    drop(server.received());
    let connacks: Vec<_> = (0..12)
        .map(|index| {
            referring(
                &[0x20, 0],
                0x9C,
                &format!("127.0.1.{index}:{}", address.port()),
            )
        })
        .collect();
    let scripts: Vec<[(usize, &[u8]); 1]> = connacks.iter().map(|c| [(20, &c[..])]).collect();
    let scripts: Vec<tests::Script<'_>> = scripts.iter().map(|script| &script[..]).collect();
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let _server = FakeServer::start_at(any, &scripts, true);
    let finished = Program::new("rpub")
        .args(&format!(
            "-h 127.0.0.1 -p {} -V 5 -t a -m x -i me",
            address.port()
        ))
        .run();
    assert_eq!(finished.status, 0x9C, "{finished:?}");
    assert_eq!(finished.errors.matches("Trying 127.0.1.").count(), 8);
}

/// A name server that answers each question with this host and port.
fn name_server(host: &'static str, port: u16) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((count, from)) = socket.recv_from(&mut query) {
            let mut answer = query[..count].to_vec();
            answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
            let known = answer.windows(5).any(|part| part == b"_mqtt");
            if !known {
                answer[3] = 0x83; // no such name
                answer[7] = 0;
            } else {
                answer.extend([0xC0, 0x0C, 0, 33, 0, 1, 0, 0, 0, 60]);
                answer.extend([0, host.len() as u8 + 8, 0, 0, 0, 0]);
                answer.extend(port.to_be_bytes());
                answer.push(host.len() as u8);
                answer.extend(host.as_bytes());
                answer.push(0);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

#[test]
fn service_records_say_where_the_servers_are() {
    let broker = Broker::start("");
    let servers = name_server("localhost", broker.port);
    let publish = |more: &str| {
        Program::new("rpub")
            .args(&format!(
                "-S -h example.test --dns-server {servers} -t a -m x -q 1 -i me"
            ))
            .args(more)
            .run()
    };
    publish("").success();
    broker.wait_for_log("Sending PUBACK to me");
    // With TLS the service is another one, which this name server does not know.
    let finished = publish("--tls-use-os-certs");
    assert_eq!(finished.status, 1);
    assert_eq!(
        finished.errors,
        "Unable to connect (Lookup error). Cannot find the service \
         _secure-mqtt._tcp.example.test of -S: there is no such service.\n"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn the_system_asks_for_the_peer_if_it_is_told_to() {
    for (option, expected) in [("--tcp-keepalive 60", true), ("", false)] {
        let broker = Broker::start("");
        let _subscriber = Program::new("rsub")
            .args(&broker.options())
            .args("-t a -i me")
            .args(option)
            .start();
        broker.wait_for_log("Sending SUBACK to me");
        // Established, to this port; 02 is the timer of a keep alive.
        let peer = format!("0100007F:{:04X} 01 ", broker.port);
        let has_timer = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let line = table.lines().find(|line| line.contains(&peer)).unwrap();
            line.split_whitespace().nth(5).unwrap().starts_with("02:")
        };
        if expected {
            // Another timer may run first, until the last bytes are acknowledged.
            let start = std::time::Instant::now();
            while !has_timer() {
                assert!(start.elapsed() < tests::PATIENCE);
                thread::yield_now();
            }
        } else {
            assert!(!has_timer());
        }
    }
}
