//! The HTTP that begins a WebSocket connection (RFC 6455, section 4).

use std::fmt;
use std::io;

use httparse::{Header, Status};
use tungstenite::handshake::{client::generate_key, derive_accept_key};
use tungstenite::protocol::frame::coding::CloseCode;

/// The subprotocol of MQTT [MQTT-6.0.0-3, MQTT-6.0.0-4].
const SUBPROTOCOL: &str = "mqtt";

/// The subprotocols that a server accepts. Clients from before MQTT 3.1.1, and MQTT.js for protocol version 3, offer
/// `mqttv3.1` alone.
const ACCEPTED_SUBPROTOCOLS: [&str; 2] = [SUBPROTOCOL, "mqttv3.1"];

/// More headers than any browser sends.
const MAXIMUM_HEADERS: usize = 64;

/// Why a WebSocket connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The peer closed with this code.
    Closed(u16),
    /// A frame that may not be there.
    Frame,
    /// The head of the request or response does not end.
    HeadTooLarge,
    /// Bytes that are no HTTP.
    NotHttp,
    /// The client asks for no WebSocket, or not for MQTT: what is missing.
    Request(&'static str),
    /// The server answers with this status.
    Refused(u16),
    /// The server's answer is wrong: what.
    Response(&'static str),
    /// A page from elsewhere.
    Origin(String),
    /// A text frame, which MQTT does not use.
    Text,
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(code) => write!(f, "the peer closed the WebSocket with code {code}"),
            Self::Frame => f.write_str("the peer sent a WebSocket frame that is not allowed"),
            Self::HeadTooLarge => f.write_str("the head of the WebSocket handshake is too long"),
            Self::NotHttp => f.write_str("the peer does not speak WebSocket on this port"),
            Self::Request(what) => write!(
                f,
                "the request does not ask for MQTT over WebSocket: {what}"
            ),
            Self::Refused(404) => f.write_str(
                "the server has no WebSocket at this path (HTTP status 404, see --ws-path)",
            ),
            Self::Refused(status) => write!(f, "the server answered with HTTP status {status}"),
            Self::Response(what) => write!(f, "the answer of the server is invalid: {what}"),
            Self::Origin(origin) => write!(f, "pages from '{origin}' are not allowed"),
            Self::Text => f.write_str("the peer sent a text frame, but MQTT uses binary frames"),
        }
    }
}

impl std::error::Error for WebSocketError {}

impl From<WebSocketError> for io::Error {
    fn from(error: WebSocketError) -> Self {
        let kind = match error {
            WebSocketError::Closed(_) => io::ErrorKind::ConnectionReset,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl WebSocketError {
    /// What the peer is told.
    pub(super) fn close_code(&self) -> CloseCode {
        match self {
            Self::Text => CloseCode::Unsupported,
            Self::Closed(_) => CloseCode::Normal,
            _ => CloseCode::Protocol,
        }
    }
}

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Request {
    host: String,
    path: String,
    /// Further ones, each a name and a value.
    headers: Vec<String>,
    key: String,
}

impl Request {
    pub(super) fn new(host: &str, path: &str, headers: &[String]) -> Self {
        Self {
            host: host.to_owned(),
            path: path.to_owned(),
            headers: headers.to_vec(),
            key: generate_key(),
        }
    }

    pub(super) fn head(&self) -> String {
        let Self {
            host,
            path,
            headers,
            key,
        } = self;
        let headers: String = headers
            .iter()
            .map(|header| format!("{header}\r\n"))
            .collect();
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{headers}\r\n"
        )
    }
}

/// The server's answer: its length if it is whole and right.
pub(super) fn accept_response(
    request: &Request,
    input: &[u8],
) -> Result<Option<usize>, WebSocketError> {
    let mut headers = [httparse::EMPTY_HEADER; MAXIMUM_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let Status::Complete(length) = response.parse(input).map_err(|_| WebSocketError::NotHttp)?
    else {
        return Ok(None);
    };
    match response.code {
        Some(101) => {}
        code => return Err(WebSocketError::Refused(code.unwrap_or(0))),
    }
    let accept = value(response.headers, "Sec-WebSocket-Accept");
    if accept != Some(derive_accept_key(request.key.as_bytes()).as_str()) {
        return Err(WebSocketError::Response("it is to another request"));
    }
    if value(response.headers, "Sec-WebSocket-Protocol") != Some(SUBPROTOCOL) {
        return Err(WebSocketError::Response("it is not for MQTT"));
    }
    Ok(Some(length))
}

/// A client's request: its length if it is whole. The answer goes down, also to a wrong one.
pub(super) fn accept_request(
    origins: &[String],
    input: &[u8],
    down: &mut Vec<u8>,
) -> Result<Option<usize>, WebSocketError> {
    let mut headers = [httparse::EMPTY_HEADER; MAXIMUM_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let Status::Complete(length) = request.parse(input).map_err(|_| WebSocketError::NotHttp)?
    else {
        return Ok(None);
    };
    match check_request(&request, origins) {
        Ok(Acceptance { key, subprotocol }) => {
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {key}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
            );
            down.extend_from_slice(head.as_bytes());
            Ok(Some(length))
        }
        Err(error) => {
            let status = match error {
                WebSocketError::Origin(_) => "403 Forbidden",
                _ => "400 Bad Request",
            };
            let text = format!("{error}\n");
            let head = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\n\
                 Content-Length: {}\r\n\r\n{text}",
                text.len()
            );
            down.extend_from_slice(head.as_bytes());
            Err(error)
        }
    }
}

/// The parts of the answer to a request that depend on the request.
struct Acceptance {
    key: String,
    subprotocol: &'static str,
}

/// Returns the parts of the answer if the request is for MQTT and from an allowed origin.
fn check_request(
    request: &httparse::Request<'_, '_>,
    origins: &[String],
) -> Result<Acceptance, WebSocketError> {
    let headers = &*request.headers;
    let wrong = |what| Err(WebSocketError::Request(what));
    if request.method != Some("GET") {
        return wrong("the method is not GET");
    }
    if !has_token(headers, "Upgrade", "websocket") || !has_token(headers, "Connection", "upgrade") {
        return wrong("it asks for no upgrade");
    }
    if value(headers, "Sec-WebSocket-Version") != Some("13") {
        return wrong("the version is not 13");
    }
    let is_offered = |subprotocol: &&str| has_token(headers, "Sec-WebSocket-Protocol", subprotocol);
    let Some(subprotocol) = ACCEPTED_SUBPROTOCOLS.into_iter().find(is_offered) else {
        return wrong("the subprotocol 'mqtt' is missing"); // [MQTT-6.0.0-3]
    };
    let origin = value(headers, "Origin").filter(|_| !origins.is_empty());
    if let Some(origin) = origin.filter(|origin| !origins.iter().any(|known| known == origin)) {
        return Err(WebSocketError::Origin(origin.to_owned()));
    }
    match value(headers, "Sec-WebSocket-Key") {
        Some(key) => Ok(Acceptance {
            key: derive_accept_key(key.as_bytes()),
            subprotocol,
        }),
        None => wrong("the key is missing"),
    }
}

fn value<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a str> {
    let mut named = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name));
    let value = named.next()?.value;
    std::str::from_utf8(value).ok().map(str::trim)
}

fn has_token(headers: &[Header<'_>], name: &str, token: &str) -> bool {
    let named = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name));
    let mut values = named.filter_map(|header| std::str::from_utf8(header.value).ok());
    values.any(|value| {
        value
            .split(',')
            .any(|word| word.trim().eq_ignore_ascii_case(token))
    })
}
