//! Feeds arbitrary bytes to WebSocket at both ends, and to the clients of proxies. A layer accepts or rejects the bytes
//! of the other end, and the result must not depend on the pieces in which the bytes arrive.

use mqtt_transport::{
    ClientTransport, Credentials, Layers, ListenerTransport, Proxy, ProxyProtocol, WebSocketRequest,
};

/// Feeds a layer. The first byte of the input selects the layer, and the rest are the bytes of the other end.
///
/// # Panics
/// If the result depends on the pieces, or the layer returns more bytes than it was given.
pub fn layers(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let whole = run(*choice, &[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(whole, run(*choice, &single), "cuts matter");
    assert!(whole.up.len() <= bytes.len(), "more comes up than came");
    // Answers, such as WebSocket pongs, are no longer than the bytes that they answer. The text of a rejection has a
    // fixed length. A longer output would mean that a peer can make this end allocate more memory than the peer has
    // sent.
    assert!(whole.down <= bytes.len() + 4096, "{} bytes", whole.down);
}

/// The result of feeding bytes to a layer.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    is_open: bool,
    up: Vec<u8>,
    /// The number of bytes of the answers. Their content is not compared, because WebSocket masks are random.
    down: usize,
    error: Option<String>,
}

fn run(choice: u8, pieces: &[&[u8]]) -> Outcome {
    let mut layers = end(choice);
    layers.consume_output(usize::MAX);
    let mut outcome = Outcome {
        is_open: false,
        up: Vec::new(),
        down: 0,
        error: None,
    };
    for piece in pieces {
        let result = layers.receive(piece);
        let mut buffer = [0; 4096];
        while let count @ 1.. = layers.take(&mut buffer) {
            outcome.up.extend_from_slice(&buffer[..count]);
        }
        outcome.down += layers.output().len();
        layers.consume_output(usize::MAX);
        if let Err(error) = result {
            outcome.error = Some(error.to_string());
            break;
        }
    }
    outcome.is_open = layers.is_open();
    outcome
}

/// Creates the layers under test.
fn end(choice: u8) -> Layers {
    let websocket = || {
        ClientTransport::default().with_websocket(WebSocketRequest {
            path: "/mqtt".into(),
            headers: Vec::new(),
        })
    };
    let proxy = |protocol| {
        ClientTransport::default().with_proxy(Proxy {
            protocol,
            host: "proxy".into(),
            port: 1,
            credentials: Some(Credentials {
                user_name: "me".into(),
                password: "secret".into(),
            }),
        })
    };
    let listener = ListenerTransport::default().with_websocket(Vec::new());
    let client = |transport: ClientTransport| start(transport.layers("host", 1883));
    match choice % 5 {
        0 => start(listener.layers()),
        1 => client(proxy(ProxyProtocol::Socks5)),
        2 => client(proxy(ProxyProtocol::Http)),
        // Arbitrary bytes do not pass the WebSocket handshake, so these two layers start after it.
        part => {
            let (mut client, mut server) = (client(websocket()), start(listener.layers()));
            let request = client.output().to_vec();
            server.receive(&request).expect("it is a request");
            let response = server.output().to_vec();
            client.receive(&response).expect("it is the answer");
            assert!(client.is_open() && server.is_open());
            match part {
                3 => client,
                _ => server,
            }
        }
    }
}

fn start(layers: std::io::Result<Layers>) -> Layers {
    let mut layers = layers.expect("nothing of the system is needed");
    layers.start().expect("nothing has come yet");
    layers
}
