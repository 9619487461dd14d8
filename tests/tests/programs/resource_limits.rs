//! Floods of connections, packets and messages. Each may use the resources of its limit, and must not affect other
//! clients. `docs/faults.md` names the test for each fault.

use std::net::TcpStream;

use tests::{Broker, Program, RawClient};

pub(super) fn bystander(broker: &Broker) -> RawClient {
    RawClient::connect(broker.address(), 4, "bystander")
}

/// Returns the resident memory of the broker in kB.
#[cfg(target_os = "linux")]
fn resident(broker: &Broker) -> u64 {
    let path = format!("/proc/{}/status", broker.running.id());
    let status = std::fs::read_to_string(path).unwrap();
    let mut lines = status.lines();
    let line = lines.find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Returns a packet with its Remaining Length.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    [bytes, body.to_vec()].concat()
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn silent_client_is_disconnected_after_one_and_a_half_keep_alives() {
    let broker = Broker::start("");
    let mut client = RawClient::open(broker.address());
    client.send(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x01\x00\x01k");
    assert_eq!(client.read(4), [0x20, 2, 0, 0]);
    assert_eq!(client.read_to_end(), []);
    broker.wait_for_log("Client k [127.0.0.1");
    broker.wait_for_log("exceeded timeout");
}

#[test]
fn last_client_of_many_take_overs_keeps_the_session() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "");
    let mut old = Vec::new();
    for _ in 0..200 {
        old.push(RawClient::connect(broker.address(), 5, "same"));
    }
    let mut last = old.pop().unwrap();
    last.send(&packet(0x82, &[&[0, 1, 0][..], &text("t"), &[0]].concat()));
    assert_eq!(last.read(6), [0x90, 4, 0, 1, 0, 0]);
    for mut client in old {
        assert_eq!(client.read_to_end(), [0xE0, 1, 0x8E]);
    }
    last.send(&packet(0x30, &[&text("t")[..], &[0], b"x"].concat()));
    assert_eq!(last.read(7), [0x30, 5, 0, 1, b't', 0, b'x']);
}

#[test]
fn many_simultaneous_connections_are_served() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "max_connections -1");
    let address = broker.address();
    let storms: Vec<_> = (0..8)
        .map(|storm| {
            std::thread::spawn(move || {
                let client = |number| RawClient::connect(address, 4, &format!("{storm}/{number}"));
                let mut clients: Vec<_> = (0..250).map(client).collect();
                clients.iter_mut().for_each(RawClient::ping);
            })
        })
        .collect();
    for storm in storms {
        storm.join().unwrap();
    }
}

/// Connections beyond the limit of file descriptors wait. The broker serves the connected clients, and accepts the
/// waiting ones when descriptors become free.
#[test]
#[cfg(target_os = "linux")]
fn without_free_descriptors_clients_are_served_and_the_broker_does_not_spin() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("broker.conf");
    std::fs::write(&config, "listener 0 127.0.0.1\nallow_anonymous true\n").unwrap();
    let rbroker = tests::programs().join("rbroker");
    let limited = "ulimit -n 40; exec \"$0\" -c \"$1\"";
    let running = Program::at("/bin/sh".into())
        .arg("-c")
        .arg(limited)
        .arg(&rbroker)
        .arg(&config)
        .start();
    let log = running.wait_for_error("running.");
    let (_, rest) = log.split_once("127.0.0.1:").unwrap();
    let port: u16 = rest.split_once('.').unwrap().0.parse().unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut first = RawClient::connect(address, 4, "first");
    let crowd: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    running.wait_for_error("Cannot accept a connection");
    (0..100).for_each(|_| first.ping());
    let told = running.error_so_far().matches("Cannot accept").count();
    assert_eq!(told, 1);
    drop(crowd);
    RawClient::connect(address, 4, "later").ping();
    first.ping();
}

#[test]
fn thousands_of_overlapping_filters_give_one_message() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "");
    let mut client = RawClient::connect(broker.address(), 4, "greedy");
    let filters: Vec<u8> = (0..10_000)
        .flat_map(|number| [text(&format!("+/{number}")), vec![0]].concat())
        .chain(
            [
                text("#"),
                vec![0],
                text("+/+"),
                vec![0],
                text("a/#"),
                vec![0],
            ]
            .concat(),
        )
        .collect();
    client.send(&packet(0x82, &[&[0, 1][..], &filters].concat()));
    // SUBACK has 10,003 reason codes and a packet identifier.
    let header = client.read(3);
    assert_eq!(header, [0x90, 0x95, 0x4E]);
    let codes = client.read(2 + 10_003);
    assert!(codes[2..].iter().all(|code| *code == 0));
    client.send(&packet(0x30, &[&text("a/7")[..], b"x"].concat()));
    assert_eq!(client.read(8), [0x30, 6, 0, 3, b'a', b'/', b'7', b'x']);
    client.ping();
}

#[test]
fn rejects_topics_with_too_many_levels() {
    let broker = Broker::start("");
    let mut other = bystander(&broker);
    let deep = "/".repeat(65_000);
    let mut client = RawClient::connect(broker.address(), 5, "deep");
    client.send(&packet(
        0x82,
        &[&[0, 1, 0][..], &text(&deep), &[0]].concat(),
    ));
    assert_eq!(client.read(6), [0x90, 4, 0, 1, 0, 0x8F]);
    client.send(&packet(0x30, &[&text(&deep)[..], &[0]].concat()));
    assert_eq!(client.read_to_end(), [0xE0, 1, 0x90]);
    other.ping();
}

#[test]
fn retained_messages_are_limited_and_their_memory_is_released() {
    let broker = Broker::start("max_retained_messages 3\nmax_retained_bytes 20000");
    let publish_as = |options: &str, topic: &str, payload: &str| {
        broker
            .program("rpub")
            .args(&format!("{options} -r -t {topic} -m {payload}"))
            .run()
            .status
    };
    let publish = |topic: &str, payload: &str| publish_as("-V 5 -q 1", topic, payload);
    let statuses = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("a", "2")];
    let statuses = statuses.map(|(topic, payload)| publish(topic, payload));
    assert_eq!(statuses, [0, 0, 0, 0x97, 0]);
    // A client of 3.1.1 gets no acknowledgement and is disconnected. A message of QoS 0 needs no acknowledgement and is
    // delivered.
    assert_eq!(publish_as("-V 311 -q 2", "d", "1"), 7);
    let watcher = broker.program("rsub");
    let watcher = watcher.args("-i watch -t d -C 1 -F %r%p").start();
    broker.wait_for_log("Sending SUBACK to watch");
    assert_eq!(publish_as("-q 0", "d", "live"), 0);
    assert_eq!(watcher.wait().success().text(), "0live\n");
    assert_eq!(publish("b", &"x".repeat(20_000)), 0x97);
    assert_eq!(publish("b", &"x".repeat(15_000)), 0);
    let clear = broker.program("rpub");
    clear.args("-V 5 -q 1 -r -t b -n").run().success();
    assert_eq!(publish("d", &"x".repeat(15_000)), 0);
}

/// Sessions, subscriptions and client identifiers that begin and end leave no memory in use.
#[test]
#[cfg(target_os = "linux")]
fn connecting_and_disconnecting_leaves_no_memory_in_use() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "max_connections -1");
    let churn = |round: usize| {
        for number in 0..500 {
            let name = format!("{round}-{number}");
            let mut client = RawClient::connect(broker.address(), 4, &name);
            let filter = text(&format!("{name}/+/#"));
            client.send(&packet(0x82, &[&[0, 1][..], &filter, &[1]].concat()));
            client.read(5);
            let retained = [&text(&format!("r/{name}"))[..], b"payload"].concat();
            let cleared = text(&format!("r/{name}"));
            let ping = [0xC0, 0].to_vec();
            // The packets are written in one piece, because small writes wait for each other's acknowledgement.
            client.send(&[packet(0x31, &retained), packet(0x31, &cleared), ping].concat());
            assert_eq!(client.read(2), [0xD0, 0]);
        }
    };
    (0..3).for_each(churn);
    let before = resident(&broker);
    (3..9).for_each(churn);
    let after = resident(&broker);
    assert!(after < before + 1024, "{before} kB, then {after} kB");
}

#[test]
fn thousands_of_properties_are_forwarded_or_rejected_at_little_cost() {
    let broker = Broker::start("");
    let mut client = RawClient::connect(broker.address(), 5, "many");
    client.send(&packet(0x82, &[&[0, 1, 0][..], &text("p"), &[0]].concat()));
    client.read(6);
    let properties = [0x26, 0, 1, b'a', 0, 0].repeat(50_000);
    let length = properties.len();
    let length = [
        length as u8 | 0x80,
        (length >> 7) as u8 | 0x80,
        (length >> 14) as u8,
    ];
    let body = [&text("p")[..], &length, &properties].concat();
    client.send(&packet(0x30, &body));
    assert_eq!(client.read(packet(0x30, &body).len()), packet(0x30, &body));
    client.ping();
}

/// The client subscribes to its own messages. Its window and its queue have limits, and the broker drops and logs
/// further messages.
#[test]
fn memory_of_a_client_that_floods_itself_is_bounded() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "max_queued_messages 10");
    let mut other = bystander(&broker);
    let mut client = RawClient::connect(broker.address(), 4, "loop");
    client.send(&packet(0x82, &[&[0, 1][..], &text("l"), &[1]].concat()));
    client.read(5);
    for number in 1..=100u16 {
        let identifier = number.to_be_bytes();
        client.send(&packet(0x32, &[&text("l")[..], &identifier, b"x"].concat()));
    }
    broker.wait_for_log("Outgoing messages are being dropped for client loop.");
    // 100 PUBACK packets and the 20 messages of the window arrive, in any order.
    client.read(100 * 4 + 20 * 8);
    client.ping();
    other.ping();
}

#[test]
fn payloads_of_all_kinds_are_delivered_unchanged() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "max_packet_size 268435455");
    let mut client = RawClient::connect(broker.address(), 5, "carries");
    client.send(&packet(0x82, &[&[0, 1, 0][..], &text("p"), &[0]].concat()));
    client.read(6);
    let large = vec![0xA5; 8_000_000];
    // The payloads: empty, binary, marked as UTF-8 without being UTF-8, and large.
    for (properties, payload) in [
        (&[0][..], &b""[..]),
        (&[0], b"\x00\xFF\xC3("),
        (&[2, 1, 1], b"\xC3("),
        (&[0], &large),
    ] {
        let sent = packet(0x30, &[&text("p")[..], properties, payload].concat());
        client.send(&sent);
        assert!(client.read(sent.len()) == sent, "{} bytes", payload.len());
    }
}

/// A peer could otherwise cause any number of log lines with names of any length.
#[test]
fn a_flood_of_connects_makes_a_log_that_is_smaller_than_the_flood() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "");
    let connect = |identifier: &str| {
        let body = [b"\x00\x04MQTT\x04\x02\x00\x00", &text(identifier)[..]].concat();
        packet(0x10, &body)
    };
    let long = connect(&"\u{1}".repeat(65_000));
    let short = connect("short");
    let mut sent = 0;
    for number in 0..400 {
        let bytes = if number % 10 == 0 { &long } else { &short };
        let mut client = RawClient::open(broker.address());
        client.send(bytes);
        client.read(4);
        sent += bytes.len();
    }
    let log = broker.wait_for_log("more in the last second.");
    assert!(log.len() < sent / 10, "{} bytes for {sent}", log.len());
    assert!(log.contains("Client \\u{1}\\u{1}"), "{log}");
    assert!(log.contains("as short (p4, c1, k0)."), "{log}");
}

/// One log line for each message would let a client fill the disk.
#[test]
fn repeated_rejections_are_logged_once_a_second_with_a_count() {
    let acl = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(acl.path(), "topic read #\n").unwrap();
    let settings = format!("acl_file {}", acl.path().display());
    let broker = Broker::start_silent(tests::Kind::Rbroker, &settings);
    let mut client = RawClient::connect(broker.address(), 4, "denied");
    let publish = packet(0x30, &[&text("t")[..], b"x"].concat());
    client.send(&publish.repeat(1000));
    client.ping();
    let log = broker.wait_for_log("Denied PUBLISH from denied: ");
    let lines = log
        .matches("Denied PUBLISH from denied ('t', 1 bytes)")
        .count();
    // All 1000 messages are handled within a few seconds, each of which has one line and a count.
    assert!((1..30).contains(&lines), "{lines} lines");
}

/// Reading the configuration, opening a new log and answering `rbroker status` need file descriptors, too.
#[test]
#[cfg(target_os = "linux")]
fn without_free_descriptors_reload_status_and_log_rotation_work() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let lines = format!(
        "listener 0 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nlog_dest file {}\ncontrol_socket {}\n",
        at("log").display(),
        at("socket").display()
    );
    std::fs::write(at("broker.conf"), lines).unwrap();
    let running = Program::at("/bin/sh".into())
        .arg("-c")
        .arg("ulimit -n 40; exec \"$0\" -c \"$1\"")
        .arg(tests::programs().join("rbroker"))
        .arg(at("broker.conf"))
        .start();
    let log = running.wait_for_error("running.");
    let (_, rest) = log.split_once("127.0.0.1:").unwrap();
    let port: u16 = rest.split_once('.').unwrap().0.parse().unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let crowd: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    running.wait_for_error("Cannot accept a connection");
    for round in 1..=3 {
        std::fs::rename(at("log"), at("log.old")).unwrap();
        running.signal("HUP");
        running.wait_for_errors("Config reloaded.", round);
        let start = std::time::Instant::now();
        while !std::fs::read_to_string(at("log")).is_ok_and(|text| text.contains("reloaded.")) {
            assert!(start.elapsed() < tests::PATIENCE, "the log is not opened");
        }
        let status = Program::new("rbroker").args("status --socket");
        status.arg(at("socket")).run().success();
    }
    drop(crowd);
    RawClient::connect(address, 4, "later").ping();
}
