//! Attacks over WebSocket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mqtt_codec::*;
use tests::Peer;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;

use super::attacker::Attacker;
use crate::ground::Ground;
use crate::scenario::{NO_LIMIT, SETTLE, Scale, Scenario, Site};

/// An empty binary frame of a client, with a mask that changes nothing.
const EMPTY_FRAME: [u8; 6] = [0x82, 0x80, 0, 0, 0, 0];

/// The duration of the attack.
const TIME: Duration = Duration::from_secs(8);

/// The time in which a broker must answer Close and end the connection.
const CLOSE: Duration = Duration::from_secs(1);

pub(crate) fn scenarios() -> [Scenario; 2] {
    [
        Scenario {
            name: "A2",
            title: "empty WebSocket frames at full speed, before CONNECT",
            settings: websocket,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: send_empty_frames,
        },
        Scenario {
            name: "D29",
            title: "a WebSocket client with a will sends Close",
            settings: websocket,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: close,
        },
    ]
}

fn websocket(site: &Site<'_>) -> Option<String> {
    Some(format!(
        "listener {} 127.0.0.1\nprotocol websockets\n",
        site.second_port
    ))
}

/// Returns a connection after the WebSocket handshake; `None` if the broker has no WebSocket.
fn open(ground: &Ground) -> Option<TcpStream> {
    let address = ground.second_address();
    let mut request = format!("ws://{address}/mqtt").into_client_request().ok()?;
    let protocol = HeaderValue::from_static("mqtt");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocol);
    let stream = TcpStream::connect_timeout(&address, tests::PEER_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(tests::PEER_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(tests::PEER_TIMEOUT)).ok()?;
    let (socket, _) = tungstenite::client(request, stream).ok()?;
    socket.get_ref().try_clone().ok()
}

fn send_empty_frames(ground: &mut Ground) {
    let time = match ground.scale {
        Scale::Quick => TIME / 8,
        Scale::Full | Scale::Long => TIME,
    };
    let block = EMPTY_FRAME.repeat(10_000);
    let Some(mut stream) = open(ground) else {
        ground.begin();
        return ground.fact("no WebSocket".to_owned());
    };
    ground.begin();
    let start = Instant::now();
    let mut is_open = true;
    while is_open && start.elapsed() < time {
        match stream.write(&block) {
            Ok(count @ 1..) => ground.meter().add(count as u64),
            _ => is_open = false,
        }
    }
    let end = if is_open {
        "open at the end"
    } else {
        "closed by the broker"
    };
    ground.fact(end.to_owned());
}

fn close(ground: &mut Ground) {
    let mut watcher = Attacker::new(ground, Peer::connect(ground.address(), "watcher"));
    watcher.peer.subscribe("will", QoS::AtLeastOnce);
    ground.begin();
    let Some(mut stream) = open(ground) else {
        return ground.fact("no WebSocket".to_owned());
    };
    let mut connect = Connect::new(ProtocolVersion::V3_1_1, "closer");
    let will = super::attacker::message("will", 4);
    connect.will = Some(Will::new(will, QoS::AtLeastOnce));
    let mut packet = Vec::new();
    PacketRef::Connect(Box::new(connect))
        .encode(ProtocolVersion::V3_1_1, u32::MAX, &mut packet)
        .expect("it fits");
    let length = u8::try_from(packet.len()).expect("a short CONNECT");
    let _ = stream.write_all(&[&[0x82, 0x80 | length, 0, 0, 0, 0], &packet[..]].concat());
    let mut connack = [0; 6];
    let _ = stream.read_exact(&mut connack);
    let start = Instant::now();
    // A Close frame with status 1000.
    let _ = stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]);
    let _ = stream.set_read_timeout(Some(3 * CLOSE));
    let mut answer = Vec::new();
    let is_ended = stream.read_to_end(&mut answer).is_ok();
    let time = start.elapsed();
    let is_answered = answer.first() == Some(&0x88);
    let is_published = watcher.read_until(CLOSE, |packet| matches!(packet, PacketRef::Publish(_)));
    ground.fact(format!(
        "{}, {}, will {}",
        if is_answered {
            "answered"
        } else {
            "not answered"
        },
        if is_ended {
            format!("ended after {} ms", time.as_millis())
        } else {
            "not ended".to_owned()
        },
        if is_published {
            "published"
        } else {
            "not published"
        },
    ));
    ground.expect(is_answered, "Close is answered".to_owned());
    ground.expect(is_ended, "the connection ends".to_owned());
    ground.expect(is_published, "the will is published".to_owned());
}
