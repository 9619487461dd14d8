//! HTTP request and response that open a WebSocket connection (RFC 6455, section 4).

use data_encoding::BASE64;
use httparse::{Header, Status};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::error::WebSocketError;

/// Subprotocol of MQTT [MQTT-6.0.0-3, MQTT-6.0.0-4].
const SUBPROTOCOL: &str = "mqtt";

/// Subprotocols that a server accepts, in order of preference. Clients older than MQTT 3.1.1, and MQTT.js with protocol
/// version 3, offer only `mqttv3.1`.
const ACCEPTED_SUBPROTOCOLS: [&str; 2] = [SUBPROTOCOL, "mqttv3.1"];

/// Maximum number of headers. No browser sends that many.
const MAXIMUM_HEADERS: usize = 64;

/// HTTP request of a client.
#[derive(Debug)]
pub(super) struct Request {
    host: String,
    path: String,
    /// Additional headers. Each one is a line `Name: value`.
    headers: Vec<String>,
    /// Value of `Sec-WebSocket-Key`.
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

    /// Returns the request with all its headers.
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

/// Checks the response of the server. Returns the length of the response, or `None` if the response is incomplete.
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
    // Redirects are not followed, because credentials and messages would go to a server that the user has not chosen.
    match response.code {
        Some(101) => {}
        code => return Err(WebSocketError::Refused(code.unwrap_or(0))),
    }
    let accept = value(response.headers, "Sec-WebSocket-Accept");
    if accept != Some(accept_key(&request.key).as_str()) {
        return Err(WebSocketError::Response(
            "Sec-WebSocket-Accept does not match the request",
        ));
    }
    // The server must select the subprotocol `mqtt` [MQTT-6.0.0-4].
    if value(response.headers, "Sec-WebSocket-Protocol") != Some(SUBPROTOCOL) {
        return Err(WebSocketError::Response(
            "Sec-WebSocket-Protocol is not 'mqtt'",
        ));
    }
    Ok(Some(length))
}

/// Checks the request of a client and appends the response to `down`. A rejected request gets a response too. Returns
/// the length of the request, or `None` if the request is incomplete.
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

/// Parts of a response that depend on the request.
struct Acceptance {
    key: String,
    subprotocol: &'static str,
}

/// Checks that the request is for MQTT and comes from a permitted origin. Returns the variable parts of the response.
fn check_request(
    request: &httparse::Request<'_, '_>,
    origins: &[String],
) -> Result<Acceptance, WebSocketError> {
    let headers = &*request.headers;
    let wrong = |what| Err(WebSocketError::Request(what));
    if request.method != Some("GET") {
        return wrong("the method is not GET");
    }
    // These headers are lists. Firefox, for example, sends `Connection: keep-alive, Upgrade`.
    if !has_token(headers, "Upgrade", "websocket") || !has_token(headers, "Connection", "upgrade") {
        return wrong("the headers 'Upgrade: websocket' and 'Connection: Upgrade' are missing");
    }
    if value(headers, "Sec-WebSocket-Version") != Some("13") {
        return wrong("Sec-WebSocket-Version is not 13");
    }
    let is_offered = |subprotocol: &&str| has_token(headers, "Sec-WebSocket-Protocol", subprotocol);
    let Some(subprotocol) = ACCEPTED_SUBPROTOCOLS.into_iter().find(is_offered) else {
        return wrong("Sec-WebSocket-Protocol does not contain 'mqtt'"); // [MQTT-6.0.0-3]
    };
    // Only browsers send a reliable Origin header. The check protects users of browsers: a web page of another site
    // must not connect to this broker with their network access.
    let origin = value(headers, "Origin").filter(|_| !origins.is_empty());
    if let Some(origin) = origin.filter(|origin| !origins.iter().any(|known| known == origin)) {
        return Err(WebSocketError::Origin(origin.to_owned()));
    }
    match value(headers, "Sec-WebSocket-Key") {
        Some(key) => Ok(Acceptance {
            key: accept_key(key),
            subprotocol,
        }),
        None => wrong("Sec-WebSocket-Key is missing"),
    }
}

/// Returns a random value for `Sec-WebSocket-Key`.
fn generate_key() -> String {
    let mut key = [0; 16];
    // The key prevents caches from answering with an old response. It protects no secret, so an all-zero key is better
    // than no connection if the operating system has no random bytes.
    let _ = getrandom::fill(&mut key);
    BASE64.encode(&key)
}

/// Returns the value of `Sec-WebSocket-Accept` for a key. RFC 6455 uses SHA-1 only to show that the server has read the
/// key, and not for security.
fn accept_key(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

/// Returns the value of the first header with this name.
fn value<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a str> {
    let mut named = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name));
    let value = named.next()?.value;
    std::str::from_utf8(value).ok().map(str::trim)
}

/// Returns `true` if a header with this name contains `token` in its comma-separated list.
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
