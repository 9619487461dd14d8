//! WebSocket at both ends and the clients of proxies: what the other end sends is understood or refused,
//! and it does not matter how it is cut into pieces.

use mqtt_transport::{
    ClientTransport, Credentials, Layers, ListenerTransport, Proxy, ProxyProtocol, WebSocketRequest,
};

/// The first byte chooses the end, the rest is what comes from the other one.
///
/// # Panics
/// If cuts matter, or if more comes out than can have come in.
pub fn layers(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let whole = run(*choice, &[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(whole, run(*choice, &single), "cuts matter");
    assert!(whole.up.len() <= bytes.len(), "more comes up than came");
    // An answer is no longer than what it answers, but for the fixed words of a refusal.
    assert!(whole.down <= bytes.len() + 4096, "{} bytes", whole.down);
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    is_open: bool,
    up: Vec<u8>,
    /// How much was answered. (What is in it has a mask, by chance.)
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

/// The end that is tested.
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
        // Behind the handshakes, which no bytes that are made up get through.
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
