//! WebSocket peers that violate the protocol, and the ends of their connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use tests::{Broker, PATIENCE, RawClient};

/// An empty binary frame of a client, with a mask that changes nothing.
const EMPTY_FRAME: [u8; 6] = [0x82, 0x80, 0, 0, 0, 0];

/// CONNECT of 3.1.1 with the will "gone" on the topic `will`.
const CONNECT_WITH_WILL: &[u8] =
    b"\x10\x19\x00\x04MQTT\x04\x06\x00\x00\x00\x01w\x00\x04will\x00\x04gone";

/// Starts a broker with a plain listener and a WebSocket listener. Returns the address of the latter.
fn broker() -> (Broker, SocketAddr) {
    let broker = Broker::start_silent(
        tests::Kind::Rbroker,
        "listener 0 127.0.0.1\nprotocol websockets",
    );
    let log = broker.wait_for_log("running.");
    let mut ports = log.lines().filter_map(|line| {
        let port = line.split_once("Listening on 127.0.0.1:")?.1;
        port.trim_end_matches('.').parse().ok()
    });
    let websocket = ports.next_back().unwrap();
    (broker, ([127, 0, 0, 1], websocket).into())
}

/// Opens a connection and completes the WebSocket handshake.
fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let request = "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    stream
}

/// Writes `block` until the broker has closed the connection.
fn write_until_closed(mut stream: TcpStream, block: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    while stream.write_all(block).is_ok() {
        assert!(Instant::now() < deadline, "the connection is not closed");
    }
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[test]
fn empty_frames_before_connect_delay_no_other_client_and_end_at_the_connect_timeout() {
    let (broker, address) = broker();
    let mut bystander = RawClient::connect(broker.address(), 4, "bystander");
    let flood = thread::spawn(move || {
        write_until_closed(open(address), &EMPTY_FRAME.repeat(8192));
    });
    let mut pings = 0;
    while !flood.is_finished() {
        bystander.ping();
        pings += 1;
    }
    flood.join().unwrap();
    assert!(pings > 100, "{pings} pings were answered");
}

#[test]
fn close_is_answered_the_connection_ends_and_the_will_is_published() {
    let (broker, address) = broker();
    let mut watcher = RawClient::connect(broker.address(), 4, "watcher");
    watcher.send(b"\x82\x09\x00\x01\x00\x04will\x00");
    watcher.read(5);
    // More frames may follow the Close frame, as from a client that does not read.
    for rest in [&b""[..], &EMPTY_FRAME.repeat(10_000)] {
        let mut client = open(address);
        client.write_all(&masked(0x82, CONNECT_WITH_WILL)).unwrap();
        let mut connack = [0; 6];
        client.read_exact(&mut connack).unwrap();
        assert_eq!(connack, [0x82, 4, 0x20, 2, 0, 0]);
        let close = masked(0x88, b"\x03\xE8");
        client.write_all(&[&close[..], rest].concat()).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"\x88\x02\x03\xE8");
        let will = b"\x30\x0a\x00\x04willgone";
        assert_eq!(watcher.read(will.len()), will);
        // The broker also closes the socket if the client leaves its end open.
        write_until_closed(client, &EMPTY_FRAME);
    }
}

#[test]
fn an_origin_in_the_log_is_escaped() {
    let broker = Broker::start("protocol websockets\nwebsockets_origin http://good");
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: mqtt\r\nOrigin: http://\u{9b}31m\u{202e}evil\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    broker.wait_for_log("http://\\u{9b}31m\\u{202e}evil' are not allowed");
}
