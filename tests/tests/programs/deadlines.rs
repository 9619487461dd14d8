//! The time that the programs wait, compared with the time that the user has set.
#![cfg(unix)]

use std::time::{Duration, Instant};

use tests::{FakeServer, Program, named_pipe};

const CONNECT: usize = 14; // the length of CONNECT in 3.1.1 without identifier
const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

#[test]
fn program_ends_if_suback_or_unsuback_is_missing() {
    for (program, arguments, length, answer, missing) in [
        ("rsub", "-t a", 8, &b""[..], "SUBACK"),
        ("rsub", "-t a -E", 8, b"\x90\x03\x00\x09\x00", "SUBACK"),
        ("rsub", "-U a", 7, b"", "UNSUBACK"),
        ("rsub", "-U a -E", 7, b"\xB0\x02\x00\x09", "UNSUBACK"),
        ("rrr", "-V 311 -t a -e b -m x", 8, b"", "SUBACK"),
    ] {
        let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (length, answer)];
        let server = FakeServer::start(&[script], false);
        let command = server.program(program);
        let finished = command
            .args(arguments)
            .args("--connect-timeout 300ms")
            .run();
        assert_eq!(finished.status, 7, "{program} {arguments} {finished:?}");
        let expected = format!("{} sent no {missing} in time", server.address);
        assert!(finished.errors.contains(&expected), "{finished:?}");
    }
}

#[test]
fn a_subscriber_reconnects_if_a_later_answer_is_missing() {
    let first: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let second: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"")];
    let broker = FakeServer::start(&[first], true);
    let address = broker.address;
    let subscriber = broker.program("rsub");
    let subscriber = subscriber.args("-t a --connect-timeout 2").start();
    broker.received();
    let silent = FakeServer::start_at(address, &[second], false);
    subscriber.wait_for_error("sent no SUBACK in time (see --connect-timeout). Trying again");
    drop(silent);
    subscriber.signal("INT");
    subscriber.wait().success();
}

/// Runs a program that must give up after this time. Returns its status.
fn status_after(asked: Duration, command: Program) -> i32 {
    let start = Instant::now();
    let finished = command.run();
    let took = start.elapsed();
    assert!(took >= asked, "{took:?} instead of {asked:?}: {finished:?}");
    let late = asked * 3 / 2;
    assert!(took < late, "{took:?} instead of {asked:?}: {finished:?}");
    finished.status
}

#[test]
fn programs_give_up_connecting_after_the_time_of_wait() {
    let asked = Duration::from_secs(3);
    for (program, arguments) in [
        ("rpub", "-m x --wait 3s"),
        ("rpub", "-l --wait 3"),
        ("rsub", "--wait 3s"),
        ("rrr", "-e b -m x --wait 3s"),
    ] {
        let command = Program::new(program).args("-h 127.0.0.1 -p 1 -t a");
        assert_eq!(status_after(asked, command.args(arguments)), 1);
    }
    // The broker accepts TCP connections and sends nothing.
    for (arguments, status) in [("--wait 3s", 7), ("--connect-timeout 3s", 7), ("-W 3", 27)] {
        let server = FakeServer::start(&[&[]], false);
        let command = server.program("rrr");
        let command = command.args("-t a -e b -m x").args(arguments);
        assert_eq!(status_after(asked, command), status, "{arguments}");
    }
}

#[test]
fn programs_give_up_reconnecting_after_the_time_of_reconnect_max() {
    let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let server = FakeServer::start(&[script], true);
    let subscriber = server.program("rsub");
    let subscriber = subscriber.args("-t a --reconnect-max 3s");
    assert_eq!(status_after(Duration::from_secs(3), subscriber), 1);
}

/// The time of `-W` in the tests below.
const DEADLINE: Duration = Duration::from_millis(600);

/// Maximum time that a program may take beyond its deadline.
const OVERRUN: Duration = Duration::from_millis(200);

/// Runs a program with `-W` that cannot finish, and checks that it ends in time with this status. The standard input of
/// the program stays open. A busy machine may delay one run, but not three runs in a row.
fn ends_at_the_deadline(step: &str, status: i32, command: impl Fn() -> Program) {
    let mut late = Vec::new();
    while late.len() < 3 {
        let command = command().args(&format!("-W {}ms", DEADLINE.as_millis()));
        let start = Instant::now();
        let (running, input) = command.start_with_input();
        let finished = running.wait();
        let took = start.elapsed();
        drop(input);
        assert_eq!(finished.status, status, "{step}: {finished:?}");
        if status == 27 {
            assert_eq!(
                finished.errors.matches("Timed out\n").count(),
                1,
                "{step}: {finished:?}"
            );
            assert!(took >= DEADLINE, "{step}: {took:?}");
        }
        if took < DEADLINE + OVERRUN {
            println!("{step}: {took:?}");
            return;
        }
        late.push(took);
    }
    panic!("{step}: {late:?}");
}

#[test]
fn deadline_applies_to_name_resolution_and_connecting() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let name_server = silent.local_addr().unwrap();
    let full = FullQueue::listen();
    for arguments in ["rpub -m x", "rpub -l", "rsub", "rrr -e b -m x"] {
        let program = |more: &str| {
            let (program, own) = arguments.split_once(' ').unwrap_or((arguments, ""));
            Program::new(program).args(own).args("-t a").args(more)
        };
        let look_up = format!("-S -h example.test --dns-server {name_server}");
        ends_at_the_deadline("look-up", 27, || program(&look_up));
        let port = full.port();
        ends_at_the_deadline("connect", 27, || {
            program(&format!("-h 127.0.0.1 -p {port}"))
        });
        for (step, options) in [
            ("TLS", "--tls-use-os-certs"),
            ("WebSocket", "--ws"),
            ("CONNACK", ""),
        ] {
            ends_at_the_deadline(step, 27, || {
                let server = FakeServer::start(&[&[]], false);
                program(&server.options()).args(options)
            });
        }
        ends_at_the_deadline("proxy", 27, || {
            let server = FakeServer::start(&[&[]], false);
            program(&format!("--proxy socks5h://{}", server.address))
        });
    }
}

#[test]
fn deadline_applies_while_answers_are_missing() {
    let suback: &[u8] = b"\x90\x03\x00\x01\x00";
    let pubrec: &[u8] = b"\x50\x02\x00\x01";
    let retained: &[u8] = b"\x90\x03\x00\x01\x02\x34\x06\x00\x01a\x00\x07x";
    let steps: [(&str, &str, i32, tests::Script<'_>); 11] = [
        ("SUBACK", "rsub -t a", 27, &[(CONNECT, ACCEPT)]),
        (
            "SUBACK of rrr",
            "rrr -V 311 -t a -e b -m x",
            27,
            &[(CONNECT, ACCEPT)],
        ),
        ("UNSUBACK", "rsub -U a -E", 27, &[(CONNECT, ACCEPT)]),
        (
            "messages",
            "rsub -t a -C 1",
            27,
            &[(CONNECT, ACCEPT), (8, suback)],
        ),
        (
            "response",
            "rrr -V 311 -t a -e b -m x",
            27,
            &[(CONNECT, ACCEPT), (8, suback)],
        ),
        ("PUBACK", "rpub -t a -m x -q 1", 27, &[(CONNECT, ACCEPT)]),
        ("PUBREC", "rpub -t a -m x -q 2", 27, &[(CONNECT, ACCEPT)]),
        (
            "PUBCOMP",
            "rpub -t a -m x -q 2",
            27,
            &[(CONNECT, ACCEPT), (8, pubrec)],
        ),
        ("standard input", "rpub -t a -l", 27, &[(CONNECT, ACCEPT)]),
        (
            "delay",
            "rpub -t a -m x --repeat 2 --repeat-delay 9",
            27,
            &[(CONNECT, ACCEPT)],
        ),
        // rsub has printed the message, which was its task. Only the end of the exchange is missing.
        (
            "PUBREL",
            "rsub -t a -q 2 -C 1",
            0,
            &[(CONNECT, ACCEPT), (8, retained)],
        ),
    ];
    for (step, command, status, script) in steps {
        let (program, arguments) = command.split_once(' ').unwrap();
        ends_at_the_deadline(step, status, || {
            let server = FakeServer::start(&[script], false);
            server.program(program).args(arguments)
        });
    }
}

#[test]
fn deadline_applies_while_the_transport_is_stalled() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![b'x'; 64 << 20]).unwrap();
    // The server reads CONNECT and then reads nothing.
    let (listener, port) = stalled_server();
    ends_at_the_deadline("publishing", 27, || {
        let options = format!("-h 127.0.0.1 -p {port} -t a -f {}", large.display());
        Program::new("rpub").args(&options)
    });
    drop(listener);
    let fifo = named_pipe(folder.path());
    let fifo = format!("-f {}", fifo.display());
    for arguments in ["rpub -s", "rrr -e b -s", &format!("rpub {fifo}")] {
        let (program, own) = arguments.split_once(' ').unwrap();
        ends_at_the_deadline("input before the connection", 27, || {
            Program::new(program).args("-p 1 -t a").args(own)
        });
    }
}

#[test]
fn deadline_applies_while_the_client_reconnects() {
    let suback: &[u8] = b"\x90\x03\x00\x01\x00";
    let lines: tests::Script<'_> = &[(CONNECT, ACCEPT)];
    let subscribed: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, suback)];
    for (program, arguments, script) in [("rpub", "-t a -l", lines), ("rsub", "-t a", subscribed)] {
        let step = format!("reconnect of {program}");
        ends_at_the_deadline(&step, 27, || {
            let server = FakeServer::start(&[script], true);
            server.program(program).args(arguments)
        });
    }
    // The deadline passes before the first connection.
    ends_at_the_deadline("--wait", 27, || {
        Program::new("rpub").args("-p 1 -t a -m x --wait 1m")
    });
}

#[test]
fn rpub_ends_if_the_server_answers_pings_but_never_acknowledges() {
    let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b""), (2, b"\xD0\x00")];
    let server = FakeServer::start(&[script], false);
    let command = server.program("rpub");
    let start = Instant::now();
    let finished = command.args("-t a -m x -q 1 -k 5 --timeout 6s").run();
    assert_eq!(finished.status, 27, "{finished:?}");
    assert!(start.elapsed() < Duration::from_secs(7));
}

/// A listener whose queue of connections is full, so that the system does not answer further connections.
struct FullQueue(socket2::Socket, #[allow(dead_code)] Vec<socket2::Socket>);

impl FullQueue {
    fn listen() -> Self {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener
            .bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        // The system may accept more connections than `listen` asked for, so connections are opened until one is not
        // answered.
        let mut fillers = Vec::new();
        loop {
            let filler =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            let result = filler.connect_timeout(&address, Duration::from_millis(300));
            fillers.push(filler);
            if result.is_err() {
                return Self(listener, fillers);
            }
        }
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().as_socket().unwrap().port()
    }
}

/// Starts a server that accepts every client and then stops reading.
fn stalled_server() -> (std::net::TcpListener, u16) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = own.accept() {
            let mut connect = [0; CONNECT];
            if stream.read_exact(&mut connect).is_ok() {
                let _ = stream.write_all(ACCEPT);
            }
            held.push(stream);
        }
    });
    (listener, port)
}
