//! Tests of the WebSocket layer: a client with a server, bytes in pieces of any size, and invalid input.

use super::*;
use crate::layer::Layers;

fn pair() -> (Layers, Layers) {
    let client = WebSocketLayer::client("host:1", "/mqtt", &["X-Test: 1".to_owned()]);
    let server = WebSocketLayer::server(Vec::new());
    (
        Layers::new(vec![Box::new(client)]),
        Layers::new(vec![Box::new(server)]),
    )
}

/// Passes the output of one end to the other one, in pieces of `piece` bytes.
fn carry(from: &mut Layers, to: &mut Layers, piece: usize) -> io::Result<()> {
    let bytes = from.output().to_vec();
    from.consume_output(bytes.len());
    bytes.chunks(piece).try_for_each(|bytes| to.receive(bytes))
}

fn open(client: &mut Layers, server: &mut Layers, piece: usize) {
    client.start().unwrap();
    server.start().unwrap();
    carry(client, server, piece).unwrap();
    carry(server, client, piece).unwrap();
    assert!(client.is_open() && server.is_open());
}

fn taken(layers: &mut Layers) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 20];
    let count = layers.take(&mut buffer);
    buffer.truncate(count);
    buffer
}

#[test]
fn a_request_has_host_path_and_further_headers() {
    let (mut client, _) = pair();
    client.start().unwrap();
    let head = String::from_utf8(client.output().to_vec()).unwrap();
    assert!(
        head.starts_with("GET /mqtt HTTP/1.1\r\nHost: host:1\r\n"),
        "{head}"
    );
    assert!(head.ends_with("\r\nX-Test: 1\r\n\r\n"), "{head}");
}

#[test]
fn payload_is_unchanged_for_every_split_of_the_input() {
    let message: Vec<u8> = (0..70_000_u32).map(|number| number as u8).collect();
    for piece in [1, 2, 3, 7, 1000, usize::MAX] {
        let (mut client, mut server) = pair();
        open(&mut client, &mut server, piece);
        for _ in 0..2 {
            client.send(&message).unwrap();
            client.send(b"x").unwrap();
            carry(&mut client, &mut server, piece).unwrap();
            assert_eq!(taken(&mut server), [&message[..], b"x"].concat());
            server.send(&message).unwrap();
            carry(&mut server, &mut client, piece).unwrap();
            assert_eq!(taken(&mut client), message);
        }
    }
}

/// Returns the layers of a server after the handshake.
fn opened_server() -> Layers {
    let (mut client, mut server) = pair();
    open(&mut client, &mut server, usize::MAX);
    server
}

/// Returns a masked frame of a client. The masking key is zero and changes no byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[test]
fn fragments_are_joined_and_pings_between_them_answered() {
    let mut server = opened_server();
    for bytes in [
        frame(0x02, b"ab"),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x80, b"c"),
        frame(0x8A, b"pong"),
        frame(0x82, b"d"),
    ] {
        server.receive(&bytes).unwrap();
    }
    assert_eq!(taken(&mut server), b"abcd");
    assert_eq!(server.output(), b"\x8A\x04ping");
}

#[test]
fn invalid_frames_are_answered_with_close() {
    for (bytes, code) in [
        (frame(0x81, b"text"), 1003_u16),
        (frame(0xC2, b"reserved bit"), 1002),
        (frame(0x80, b"no message to go on with"), 1002),
        (frame(0x83, b"unknown"), 1002),
        (frame(0x09, b"a ping in fragments"), 1002),
        (b"\x82\x01x".to_vec(), 1002), // not masked
        (b"\x89\xFE\x00\x7E\x00\x00\x00\x00".to_vec(), 1002), // a long ping
    ] {
        let mut server = opened_server();
        let error = server.receive(&bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        let [high, low] = code.to_be_bytes();
        assert_eq!(server.output(), [0x88, 2, high, low], "{bytes:?}");
    }
    let mut server = opened_server();
    server.receive(&frame(0x02, b"a")).unwrap();
    assert!(server.receive(&frame(0x82, b"a second message")).is_err());
}

#[test]
fn flood_of_pings_with_unread_answers_ends_the_connection() {
    let mut server = opened_server();
    let ping = frame(0x89, &[b'?'; 100]);
    let count = (0..10_000)
        .take_while(|_| server.receive(&ping).is_ok())
        .count();
    assert!((2_000..4_000).contains(&count), "{count}");
    assert!(server.output().len() < 300 * 1024);
}

#[test]
fn close_is_answered_and_its_code_reported() {
    let mut server = opened_server();
    server.receive(&frame(0x88, b"\x03\xE8")).unwrap();
    assert_eq!(server.output(), b"\x88\x02\x03\xE8");
    let mut server = opened_server();
    let error = server.receive(&frame(0x88, b"\x03\xF3")).unwrap_err();
    assert!(error.to_string().contains("1011"), "{error}");
}

fn answer(origins: &[&str], request: &str) -> (String, bool) {
    let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    let mut server = Layers::new(vec![Box::new(WebSocketLayer::server(origins))]);
    server.start().unwrap();
    let result = server.receive(request.replace('\n', "\r\n").as_bytes());
    let head = String::from_utf8(server.output().to_vec()).unwrap();
    (
        head.lines().next().unwrap_or_default().to_owned(),
        result.is_ok(),
    )
}

const REQUEST: &str = "GET /mqtt HTTP/1.1\nHost: h\nUpgrade: WebSocket\nConnection: keep-alive, Upgrade\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n\
    Sec-WebSocket-Protocol: chat, mqtt\nOrigin: http://a\n\n";

#[test]
fn rejects_requests_without_a_websocket_upgrade_for_mqtt() {
    assert_eq!(
        answer(&[], REQUEST),
        ("HTTP/1.1 101 Switching Protocols".into(), true)
    );
    assert_eq!(
        answer(&["http://a"], REQUEST).0,
        "HTTP/1.1 101 Switching Protocols"
    );
    assert_eq!(answer(&["http://b"], REQUEST).0, "HTTP/1.1 403 Forbidden");
    for (old, new) in [
        ("GET", "POST"),
        ("Upgrade: WebSocket", "X: y"),
        ("Version: 13", "Version: 8"),
        ("chat, mqtt", "chat"),
        ("Sec-WebSocket-Key", "X-Key"),
    ] {
        let (status, is_ok) = answer(&[], &REQUEST.replace(old, new));
        assert_eq!(
            (status.as_str(), is_ok),
            ("HTTP/1.1 400 Bad Request", false),
            "{new}"
        );
    }
    assert!(!answer(&[], "\x10\x0e\x00\x04MQTT\n\n").1);
    assert!(!answer(&[], &format!("GET / HTTP/1.1\nX: {}", "x".repeat(9000))).1);
}

#[test]
fn selects_mqtt_or_the_subprotocol_from_before_3_1_1() {
    for (offered, selected) in [
        ("mqttv3.1", "mqttv3.1"),
        ("chat, mqttv3.1", "mqttv3.1"),
        ("mqttv3.1, mqtt", "mqtt"),
        ("mqtt", "mqtt"),
    ] {
        let mut server = Layers::new(vec![Box::new(WebSocketLayer::server(Vec::new()))]);
        server.start().unwrap();
        let request = REQUEST.replace("chat, mqtt", offered).replace('\n', "\r\n");
        server.receive(request.as_bytes()).unwrap();
        let head = String::from_utf8(server.output().to_vec()).unwrap();
        let expected = format!("\r\nSec-WebSocket-Protocol: {selected}\r\n");
        assert!(head.contains(&expected), "{offered}: {head}");
    }
}

#[test]
fn invalid_answers_are_reported() {
    for (answer, expected) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "404"),
        (
            "HTTP/1.1 101 X\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "Sec-WebSocket-Accept does not match",
        ),
        ("\x20\x02\x00\x05", "does not speak WebSocket"),
    ] {
        let mut client = Layers::new(vec![Box::new(WebSocketLayer::client("h", "/", &[]))]);
        client.start().unwrap();
        let error = client.receive(answer.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

proptest::proptest! {
    /// Each input of a client is accepted or rejected with a Close frame. The layer never returns more bytes than were
    /// sent.
    #[test]
    fn any_bytes_are_decoded_as_frames_or_rejected(
        pieces in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..40), 0..8),
    ) {
        let mut server = opened_server();
        let mut sent = 0;
        for piece in &pieces {
            sent += piece.len();
            if server.receive(piece).is_err() {
                proptest::prop_assert!(server.output().contains(&0x88));
                break;
            }
        }
        proptest::prop_assert!(taken(&mut server).len() <= sent);
    }

    /// Fragments of any size, with pings between them, are joined to the payload that was sent.
    #[test]
    fn any_fragments_are_joined_to_their_bytes(
        payload in proptest::collection::vec(proptest::num::u8::ANY, 1..300),
        sizes in proptest::collection::vec(1_usize..60, 1..20),
        piece in 1_usize..50,
    ) {
        let mut bytes = Vec::new();
        let mut rest = &payload[..];
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let (fragment, others) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            let is_first = rest.len() == payload.len();
            let opcode = if is_first { 2 } else { 0 };
            let fin = if others.is_empty() { 0x80 } else { 0 };
            bytes.extend(frame(opcode | fin, fragment));
            bytes.extend(frame(0x89, b"?"));
            rest = others;
        }
        let mut server = opened_server();
        for piece in bytes.chunks(piece) {
            server.receive(piece).unwrap();
        }
        proptest::prop_assert_eq!(taken(&mut server), payload);
    }
}
