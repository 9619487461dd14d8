//! The server that a client connects to: several hosts, Server References and service records.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tests::{Broker, Certificates, FakeServer, Program, SocksProxy, TlsFront, Validity};

/// An address of this machine at which the brokers of the tests do not listen.
const OTHER: &str = "127.0.0.2";

fn other(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port))
}

#[test]
fn tries_the_next_host_if_one_is_unreachable_or_busy() {
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
        "Warning: Connection refused. Is there a broker on {OTHER}:{port}? Trying 127.0.0.1:{port}.\n\
         Connected to 127.0.0.1:{port}.\n"
    );
    assert_eq!(down.errors, expected);
    let _busy = FakeServer::start_at(other(port), &[&[(16, &[0x20, 2, 0, 3])]], true);
    let busy = publish().success();
    assert!(busy.errors.contains("broker unavailable"), "{busy:?}");
}

#[test]
fn other_hosts_are_not_tried_if_the_rejection_is_about_the_client() {
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
    // A free port may be taken by another test at any time. Port 1 (tcpmux) is never in use.
    let port = 1;
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
fn subscriber_reconnects_to_the_next_host_if_its_host_is_down() {
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
fn hosts_on_the_command_line_replace_those_of_the_options_file() {
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
    // A URL replaces earlier options, and later options replace parts of the URL.
    let url = format!("-L mqtt://127.0.0.9:{}/a", broker.port);
    assert_eq!(publish(&format!("{url} -h 127.0.0.1")).success().errors, "");
    assert!(publish("").errors.contains("127.0.0.8"));
}

/// Returns a CONNACK or DISCONNECT of 5.0 with a Server Reference.
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
        let finished = server
            .program("rpub")
            .args("-V 5 -t a -m x -q 2 -i me --follow-redirects")
            .run()
            .success();
        let expected = format!("Trying {}.", broker.address());
        assert!(finished.errors.contains(&expected), "{finished:?}");
    }
    broker.wait_for_log("Sending PUBCOMP to me");
    // The broker sends the Server Reference with DISCONNECT during a connection.
    let retained = format!("{} -t a -m kept -r -q 1", broker.options());
    Program::new("rpub").args(&retained).run().success();
    let disconnect = referring(&[0xE0], 0x9C, &broker.address().to_string());
    let accept = [0x20, 3, 0, 0, 0];
    let server = FakeServer::start(&[&[(20, &accept), (9, &disconnect)]], true);
    let finished = server
        .program("rsub")
        .args("-V 5 -t a -C 1 -i me --follow-redirects")
        .run()
        .success();
    assert_eq!(finished.text(), "kept\n");
}

#[test]
fn server_reference_is_reported_and_followed_only_with_its_option() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = other.local_addr().unwrap().to_string();
    let connack = referring(&[0x20, 0], 0x9D, &reference);
    let disconnect = referring(&[0xE0], 0x9C, &reference);
    let accept = [0x20, 3, 0, 0, 0];
    let refusing: tests::Script<'_> = &[(20, &connack)];
    let ending: tests::Script<'_> = &[(20, &accept), (9, &disconnect)];
    for (program, arguments, script, status, words) in [
        ("rpub", "-t a -m x -q 1", refusing, 0x9D, "Server moved"),
        ("rsub", "-t a", refusing, 0x9D, "Server moved"),
        ("rsub", "-t a", ending, 4, "Use another server"),
        ("rrr", "-t a -e b -m x", ending, 4, "Use another server"),
    ] {
        let server = FakeServer::start(&[script], true);
        let command = server.program(program);
        let finished = command.args("-V 5 -i me").args(arguments).run();
        assert_eq!(finished.status, status, "{program} {finished:?}");
        let expected = format!("The broker refers to '{reference}' (use --follow-redirects");
        assert!(finished.errors.contains(words), "{finished:?}");
        assert!(finished.errors.contains(&expected), "{finished:?}");
    }
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "nobody came");
}

#[test]
fn circular_server_references_end_after_a_limit() {
    // Each CONNACK of the server refers to another address of the same machine.
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
            "-h 127.0.0.1 -p {} -V 5 -t a -m x -i me --follow-redirects",
            address.port()
        ))
        .run();
    assert_eq!(finished.status, 0x9C, "{finished:?}");
    assert_eq!(finished.errors.matches("Trying 127.0.1.").count(), 8);
}

#[test]
fn server_reference_is_followed_over_the_same_transport() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    let file = |name: &str| certificates.path(name).display().to_string();
    let broker = Broker::start(&format!(
        "certfile {}\nkeyfile {}",
        file("server.crt"),
        file("server.key")
    ));
    let connack = referring(&[0x20, 0], 0x9D, &broker.address().to_string());
    let server = FakeServer::start(&[&[(20, &connack)]], true);
    let front = TlsFront::start(&certificates, "server", server.address).address;
    let proxy = SocksProxy::start(Some(("me", "secret"))).address;
    let finished = Program::new("rpub")
        .args(&format!(
            "-h 127.0.0.1 -p {} -V 5 -i me --follow-redirects",
            front.port()
        ))
        .args(&format!("--proxy socks5h://me:secret@{proxy}"))
        .args(&format!("--cafile {} -t a -m x -q 1", file("ca.crt")))
        .run()
        .success();
    let expected = format!("Trying {}.", broker.address());
    assert!(finished.errors.contains(&expected), "{finished:?}");
    broker.wait_for_log("Sending PUBACK to me");
}

/// A name server for services of `example.test`, all of which are at one port of this machine.
struct NameServer {
    address: SocketAddr,
    /// The number of queries so far.
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    /// Starts a name server that has the service `known`, but first denies it `denials` times.
    fn start(known: &'static str, port: u16, denials: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count_asked = Arc::clone(&asked);
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((count, from)) = socket.recv_from(&mut query) {
                let name: Vec<u8> = known
                    .split('.')
                    .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
                    .collect();
                let is_known = query[..count].windows(name.len()).any(|part| part == name);
                let is_known = count_asked.fetch_add(1, Ordering::SeqCst) >= denials && is_known;
                let mut answer = query[..count].to_vec();
                answer[2..8].copy_from_slice(&[0x81, 0x83, 0, 1, 0, 0]); // NXDOMAIN
                if is_known {
                    (answer[3], answer[7]) = (0x80, 1);
                    let host = b"\x09localhost\0";
                    answer.extend([0xC0, 0x0C, 0, 33, 0, 1, 0, 0, 0, 60]);
                    answer.extend([0, host.len() as u8 + 6, 0, 0, 0, 0]);
                    answer.extend(port.to_be_bytes());
                    answer.extend(host);
                }
                socket.send_to(&answer, from).unwrap();
            }
        });
        Self { address, asked }
    }

    /// Publishes to the service of a domain.
    fn publish(&self, options: &str) -> Program {
        Program::new("rpub")
            .args("-S -t a -m x -q 1 -i me --dns-server")
            .arg(self.address.to_string())
            .args(options)
    }
}

#[test]
fn srv_records_name_the_servers() {
    let broker = Broker::start("");
    let names = NameServer::start("_mqtt._tcp.example.test", broker.port, 0);
    names.publish("-h example.test").run().success();
    broker.wait_for_log("Sending PUBACK to me");
    // The client skips a domain without servers.
    let other = names.publish("-h nothing.test -h example.test").run();
    let expected = "Warning: Unable to connect (Lookup error). Cannot find the service \
                    _mqtt._tcp.nothing.test: the DNS has no SRV records of this name. Trying the service \
                    _mqtt._tcp.example.test.\nConnected to ";
    let errors = other.success().errors;
    assert!(errors.starts_with(expected), "{errors}");
    assert!(
        errors.ends_with(&format!(":{}.\n", broker.port)),
        "{errors}"
    );
    // With TLS the service has another name, which this name server does not have.
    for tls in ["--tls-use-os-certs", "-p 8883"] {
        let finished = names.publish("-h example.test").args(tls).run();
        assert_eq!(finished.status, 1);
        assert_eq!(
            finished.errors,
            "Unable to connect (Lookup error). Cannot find the service \
             _secure-mqtt._tcp.example.test: the DNS has no SRV records of this name.\n"
        );
    }
    let refused = names.publish("--unix /tmp/socket").run();
    assert_eq!(refused.status, 1);
    let words = "Error: Only one of -S and --unix can be used.";
    assert!(refused.errors.starts_with(words), "{refused:?}");
}

#[test]
fn srv_records_may_name_a_service_with_tls() {
    let certificates = Certificates::new();
    certificates.server("server", &["localhost"], Validity::Now);
    let file = |name: &str| certificates.path(name).display().to_string();
    let (certificate, key) = (file("server.crt"), file("server.key"));
    let broker = Broker::start(&format!("certfile {certificate}\nkeyfile {key}"));
    let names = NameServer::start("_secure-mqtt._tcp.example.test", broker.port, 0);
    let trust = format!("--cafile {}", file("ca.crt"));
    let published = names.publish("-h example.test").args(&trust).run();
    published.success();
    broker.wait_for_log("Sending PUBACK to me");
}

#[test]
fn waits_for_srv_records_that_do_not_exist_yet() {
    let broker = Broker::start("");
    let names = NameServer::start("_mqtt._tcp.example.test", broker.port, 2);
    names.publish("-h example.test --wait 50").run().success();
    assert_eq!(names.asked.load(Ordering::SeqCst), 3);
}

#[test]
fn silent_name_server_does_not_delay_a_program_beyond_its_time_limit() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = format!(
        "-S -h example.test --dns-server {} -t a",
        silent.local_addr().unwrap()
    );
    let subscriber = Program::new("rsub").args(&options).args("-W 1").run();
    assert_eq!(subscriber.status, 27, "{subscriber:?}");
    let publisher = Program::new("rpub")
        .args(&options)
        .args("-m x --connect-timeout 1")
        .run();
    assert_eq!(publisher.status, 1, "{publisher:?}");
    let words = "Cannot find the service _mqtt._tcp.example.test: ";
    assert!(publisher.errors.contains(words), "{publisher:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn tcp_keepalive_is_enabled_by_its_option() {
    for (option, expected) in [("--tcp-keepalive 60", true), ("", false)] {
        let broker = Broker::start("");
        let _subscriber = broker
            .program("rsub")
            .args("-t a -i me")
            .args(option)
            .start();
        broker.wait_for_log("Sending SUBACK to me");
        // The state of an established connection to this port; 02 is the timer of TCP keepalive.
        let peer = format!("0100007F:{:04X} 01 ", broker.port);
        let has_timer = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let line = table.lines().find(|line| line.contains(&peer)).unwrap();
            line.split_whitespace().nth(5).unwrap().starts_with("02:")
        };
        if expected {
            // Another timer may run until the last bytes are acknowledged.
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
