//! MQTT over WebSocket: packets in binary frames of any length, and the subprotocol `mqtt`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use tests::{Broker, PATIENCE, Program};
use tungstenite::handshake::derive_accept_key;

use super::bytes::*;
use super::record::{End, hex, proves};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The other end of a WebSocket connection: it reads HTTP heads and frames, and sends the bytes of a test.
struct Wire(TcpStream);

impl Wire {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads the head of an HTTP message.
    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read(1));
        }
        String::from_utf8(head).unwrap()
    }

    /// Reads a frame. Returns its first byte and its payload without the mask.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let start = self.read(2);
        let mask = match start[1] & 0x80 {
            0 => vec![0; 4],
            _ => self.read(4),
        };
        let mut payload = self.read((start[1] & 0x7F).into());
        let keys = mask.iter().cycle();
        payload
            .iter_mut()
            .zip(keys)
            .for_each(|(byte, key)| *byte ^= key);
        (start[0], payload)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Sends a frame of a client. The mask is zero, so the payload is unchanged.
    fn send_masked(&mut self, first: u8, payload: &[u8]) {
        self.send(&[&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat());
    }
}

/// Opens a connection to the broker after the WebSocket handshake. Returns the answer of the broker, too.
fn open(broker: &Broker) -> (Wire, String) {
    let mut wire = Wire::new(TcpStream::connect(broker.address()).unwrap());
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    wire.send(request.as_bytes());
    let head = wire.head();
    (wire, head)
}

#[test]
fn the_server_selects_mqtt_and_reads_across_frames() {
    let broker = Broker::start("protocol websockets");
    for version in [4, 5] {
        let (mut wire, head) = open(&broker);
        let statements = "3.1.1:MQTT-6.0.0-4 5.0:MQTT-6.0.0-4";
        let selects = head.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n");
        proves(End::Server, version, statements, selects, true);
        // The first frame has CONNECT and the first half of PINGREQ, the second frame has the other half.
        let packets = [&Vec::from(connect(version, "ws"))[..], &[0xC0]].concat();
        wire.send_masked(0x82, &packets);
        wire.send_masked(0x82, &[0]);
        let connack = accepted(version, false);
        let (first, payload) = wire.frame();
        let statements = "3.1.1:MQTT-6.0.0-1 5.0:MQTT-6.0.0-1";
        proves(End::Server, version, statements, first, 0x82);
        let mut answers = payload;
        if answers.len() == connack.len() {
            answers.extend(wire.frame().1);
        }
        let expected = [&connack[..], &[0xD0, 0]].concat();
        let statements = "3.1.1:MQTT-6.0.0-2 5.0:MQTT-6.0.0-2";
        proves(
            End::Server,
            version,
            statements,
            hex(&answers),
            hex(&expected),
        );
    }
}

#[test]
fn server_closes_a_websocket_that_sends_text_frames() {
    let broker = Broker::start("protocol websockets");
    for version in [4, 5] {
        let (mut wire, _) = open(&broker);
        wire.send_masked(0x81, &Vec::from(connect(version, "ws")));
        let (first, code) = wire.frame();
        let mut rest = Vec::new();
        let _ = wire.0.read_to_end(&mut rest);
        let statements = "3.1.1:MQTT-6.0.0-1 5.0:MQTT-6.0.0-1";
        let closed = (first, hex(&code), rest.len());
        proves(
            End::Server,
            version,
            statements,
            closed,
            (0x88, "03 EB".into(), 0),
        );
    }
}

#[test]
fn client_offers_mqtt_reads_across_frames_and_closes_after_text_frames() {
    for version in [4, 5] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = if version == 5 { "5" } else { "311" };
        let subscriber = Program::new("rpub")
            .args(&format!(
                "-h 127.0.0.1 -p {port} --ws -V {name} -t t -m x -q 1 -i c"
            ))
            .start();
        let mut wire = Wire::new(listener.accept().unwrap().0);
        let head = wire.head();
        let statements = "3.1.1:MQTT-6.0.0-3 5.0:MQTT-6.0.0-3";
        let offers = head.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n");
        proves(End::Client, version, statements, offers, true);
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = derive_accept_key(key.unwrap().as_bytes());
        wire.send(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
            )
            .as_bytes(),
        );
        let statements = "3.1.1:MQTT-6.0.0-1 5.0:MQTT-6.0.0-1";
        let (first, connect) = wire.frame();
        proves(
            End::Client,
            version,
            statements,
            (first, connect[0]),
            (0x82, 0x10),
        );
        // CONNACK arrives in frames of one byte. The client then sends PUBLISH if it has decoded the CONNACK.
        for byte in accepted(version, false).iter() {
            wire.send(&[0x82, 1, *byte]);
        }
        let statements = "3.1.1:MQTT-6.0.0-2 5.0:MQTT-6.0.0-2";
        let (first, publish) = wire.frame();
        proves(
            End::Client,
            version,
            statements,
            (first, publish[0]),
            (0x82, 0x32),
        );
        wire.send(&[0x81, 4, 0x40, 2, 0, 1]);
        let statements = "3.1.1:MQTT-6.0.0-1 5.0:MQTT-6.0.0-1";
        let (first, code) = wire.frame();
        proves(
            End::Client,
            version,
            statements,
            (first, hex(&code)),
            (0x88, "03 EB".into()),
        );
        assert_eq!(subscriber.wait().status, 1);
    }
}
