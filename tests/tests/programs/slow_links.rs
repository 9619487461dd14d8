//! Links that are slower than the messages sent over them. A client that reads slowly or pauses must get its messages,
//! and must not be disconnected as dead.

use std::io::Write;
use std::time::{Duration, Instant};

use tests::{Broker, Program, Proxy, RawClient};

/// The rate of the links in bytes per second.
const RATE: usize = 3_000_000;

/// The size of a message in bytes. One message takes longer than the keep alive of the client, and all messages
/// together exceed the buffers of the system.
const SIZE: usize = 3_000_000;

const COUNT: usize = 4;

/// Starts a broker that sets the keep alive of clients of 5.0 to one second.
fn broker() -> Broker {
    let settings = "max_packet_size 10000000\nmax_keepalive 1";
    Broker::start_silent(tests::Kind::Rbroker, settings)
}

fn options(proxy: &Proxy) -> String {
    format!("-h 127.0.0.1 -p {}", proxy.address.port())
}

fn file(byte: u8) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![byte; SIZE]).unwrap();
    file
}

/// The publisher has a fast link. The subscriber has a slow link and a keep alive of one second.
fn subscriber_on_a_slow_link_gets_large_messages(qos: u8) {
    let broker = broker();
    let proxy = Proxy::start_slow(broker.address(), RATE);
    let subscriber = Program::new("rsub").args(&options(&proxy));
    let arguments = format!("-V 5 -i slow -t t -q {qos} -C {COUNT} -N -d");
    let subscriber = subscriber.args(&arguments).start();
    subscriber.wait_for_error("Subscribed");
    for byte in 0..COUNT as u8 {
        let file = file(b'a' + byte);
        let publisher = broker.program("rpub");
        let publisher = publisher.args(&format!("-V 5 -t t -q {qos} -f"));
        publisher.arg(file.path()).run().success();
    }
    let output = subscriber.wait().success().output;
    assert_eq!(output.len(), COUNT * SIZE);
    let mut received = output;
    received.dedup();
    assert_eq!(received, b"abcd");
    assert_eq!(proxy.sent().len(), 1, "one connection was enough");
}

#[test]
fn subscriber_on_a_slow_link_gets_large_messages_of_qos_0() {
    subscriber_on_a_slow_link_gets_large_messages(0);
}

#[test]
fn subscriber_on_a_slow_link_gets_large_messages_of_qos_1() {
    subscriber_on_a_slow_link_gets_large_messages(1);
}

#[test]
fn subscriber_on_a_slow_link_gets_large_messages_of_qos_2() {
    subscriber_on_a_slow_link_gets_large_messages(2);
}

#[test]
fn publisher_on_a_slow_link_sends_large_messages_of_each_qos() {
    let broker = broker();
    let proxy = Proxy::start_slow(broker.address(), RATE);
    let subscriber = broker.program("rsub");
    let subscriber = subscriber.args("-V 5 -t t -q 2 -C 3 -N -d").start();
    subscriber.wait_for_error("Subscribed");
    for qos in 0..3 {
        let file = file(b'a' + qos);
        let publisher = Program::new("rpub").args(&options(&proxy));
        let publisher = publisher.args(&format!("-V 5 -t t -q {qos} -f"));
        publisher.arg(file.path()).run().success();
    }
    assert_eq!(subscriber.wait().success().output.len(), 3 * SIZE);
    assert_eq!(proxy.sent().len(), 3, "one connection for each was enough");
}

/// The client sends its pings in time but reads nothing for several keep alives, while it is sent more than fits.
#[test]
fn subscriber_that_pauses_and_pings_stays_connected() {
    let broker = broker();
    let mut paused = RawClient::open(broker.address());
    // CONNECT with a keep alive of one second.
    paused.send(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x01\x00\x01p");
    assert_eq!(paused.read(4), [0x20, 2, 0, 0]);
    paused.send(&[0x82, 6, 0, 1, 0, 1, b't', 0]);
    assert_eq!(paused.read(5), [0x90, 3, 0, 1, 0]);
    // The broker must outlive the thread, because the paused client reads afterwards.
    let options = broker.options();
    let publishing = std::thread::spawn(move || {
        for byte in 0..COUNT as u8 {
            let file = file(b'a' + byte);
            let publisher = Program::new("rpub").args(&options);
            let publisher = publisher.args("-V 5 -t t -q 1 -f").arg(file.path());
            publisher.run().success();
        }
    });
    let start = Instant::now();
    let mut pings = 0;
    while !publishing.is_finished() || start.elapsed() < Duration::from_secs(4) {
        paused.send(&[0xC0, 0]);
        pings += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    publishing.join().unwrap();
    let header = 1 + 4 + 3; // type, length, topic name
    let received = paused.read(COUNT * (header + SIZE) + pings * 2);
    paused.ping();
    let is_of = |byte: u8| received.iter().filter(|other| **other == byte).count() >= SIZE;
    assert!((b'a'..b'a' + COUNT as u8).all(is_of));
}
