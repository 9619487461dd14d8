//! SOCKS5 proxies (RFC 1928) with user name and password (RFC 1929). The proxy resolves the host name and connects to
//! the server.

use std::io;
use std::net::IpAddr;

use super::handshake_error::LayerKind;
use super::layers::Layer;
use super::proxy::{Credentials, ProxyError};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_NAME_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;

/// Client side of a SOCKS5 proxy. After the proxy has connected, the layer passes bytes unchanged.
#[derive(Debug)]
pub(crate) struct Socks5Layer {
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    next_step: Step,
    input: Vec<u8>,
}

/// Progress of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The client awaits the authentication method that the proxy chooses.
    Method,
    /// The client awaits the answer to its user name and password.
    Password,
    /// The client awaits the reply to its CONNECT request.
    Reply,
    Open,
}

impl Socks5Layer {
    /// Returns a layer for a socket that is connected to the proxy. `host` and `port` are those of the server.
    pub(crate) fn new(host: &str, port: u16, credentials: Option<Credentials>) -> Self {
        Self {
            // A SOCKS5 request contains an IPv6 address without the brackets of a URL.
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port,
            credentials,
            next_step: Step::Method,
            input: Vec::new(),
        }
    }

    /// Handles one answer of the proxy. Returns `false` if the answer is incomplete.
    fn step(&mut self, down: &mut Vec<u8>) -> Result<bool, ProxyError> {
        let (length, next) = match (self.next_step, &self.input[..]) {
            (Step::Method, [VERSION, NO_AUTHENTICATION, ..]) => {
                self.push_request(down)?;
                (2, Step::Reply)
            }
            (Step::Method, [VERSION, USER_NAME_AND_PASSWORD, ..]) if self.credentials.is_some() => {
                self.push_password(down)?;
                (2, Step::Password)
            }
            (Step::Method, [VERSION, _, ..]) => return Err(ProxyError::Method),
            // Only the status in the second byte matters. 0 means success (RFC 1929, section 2).
            (Step::Password, [_, 0, ..]) => {
                self.push_request(down)?;
                (2, Step::Reply)
            }
            (Step::Password, [_, _, ..]) => return Err(ProxyError::Credentials),
            (Step::Reply, [VERSION, 0, _, kind, rest @ ..]) => {
                // The client does not need the address from which the proxy connects, but must skip its bytes.
                let address = match (kind, rest) {
                    (&IPV4, _) => 4,
                    (&IPV6, _) => 16,
                    (&DOMAIN_NAME, [length, ..]) => 1 + usize::from(*length),
                    (&DOMAIN_NAME, []) => return Ok(false),
                    _ => return Err(ProxyError::NotSocks),
                };
                (4 + address + 2, Step::Open)
            }
            // An error is reported as soon as its code arrives, because the fields after the code have no meaning in
            // this case.
            (Step::Reply, [VERSION, code, ..]) if *code != 0 => {
                return Err(ProxyError::Refused(*code));
            }
            // Another protocol is detected at its first byte, because its server may never send a second one.
            (Step::Method | Step::Reply, [first, ..]) if *first != VERSION => {
                return Err(ProxyError::NotSocks);
            }
            _ => return Ok(false),
        };
        if self.input.len() < length {
            return Ok(false);
        }
        self.input.drain(..length);
        self.next_step = next;
        Ok(true)
    }

    fn push_password(&self, down: &mut Vec<u8>) -> Result<(), ProxyError> {
        let Some(credentials) = &self.credentials else {
            return Err(ProxyError::Method);
        };
        // The version of this negotiation is 1 (RFC 1929), and not that of SOCKS.
        down.push(1);
        push_short(&credentials.user_name, down)?;
        push_short(&credentials.password, down)
    }

    fn push_request(&self, down: &mut Vec<u8>) -> Result<(), ProxyError> {
        down.extend([VERSION, CONNECT, 0]);
        match self.host.parse() {
            Ok(IpAddr::V4(address)) => {
                down.push(IPV4);
                down.extend(address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                down.push(IPV6);
                down.extend(address.octets());
            }
            Err(_) => {
                down.push(DOMAIN_NAME);
                push_short(&self.host, down)?;
            }
        }
        down.extend(self.port.to_be_bytes());
        Ok(())
    }
}

/// Appends a string with a length prefix of one byte.
fn push_short(text: &str, down: &mut Vec<u8>) -> Result<(), ProxyError> {
    down.push(u8::try_from(text.len()).map_err(|_| ProxyError::TooLong)?);
    down.extend_from_slice(text.as_bytes());
    Ok(())
}

impl Layer for Socks5Layer {
    fn kind(&self) -> LayerKind {
        LayerKind::Proxy
    }

    fn start(&mut self, down: &mut Vec<u8>) -> io::Result<()> {
        // Both methods are offered, because the proxy may not require credentials from this client.
        match self.credentials {
            Some(_) => down.extend([VERSION, 2, NO_AUTHENTICATION, USER_NAME_AND_PASSWORD]),
            None => down.extend([VERSION, 1, NO_AUTHENTICATION]),
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> io::Result<()> {
        if self.next_step == Step::Open {
            up.extend_from_slice(bytes);
            return Ok(());
        }
        self.input.extend_from_slice(bytes);
        while self.next_step != Step::Open && self.step(down)? {}
        if self.next_step == Step::Open {
            // The same bytes may contain data of the server, if the server sends first.
            up.append(&mut self.input);
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> io::Result<()> {
        down.extend_from_slice(bytes);
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.next_step == Step::Open
    }

    fn close(&mut self, _: &mut Vec<u8>) {}

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes the answers of a proxy to the layer, one byte at a time. Returns the bytes for the proxy, the bytes for
    /// MQTT, and `true` if the layer is open.
    fn talk(host: &str, credentials: bool, proxy: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>, bool)> {
        let credentials = credentials.then(|| Credentials {
            user_name: "me".into(),
            password: "secret".into(),
        });
        let mut layer = Socks5Layer::new(host, 1883, credentials);
        let (mut up, mut down) = (Vec::new(), Vec::new());
        layer.start(&mut down)?;
        for byte in proxy {
            layer.receive(&[*byte], &mut up, &mut down)?;
        }
        Ok((down, up, layer.is_open()))
    }

    #[test]
    fn requests_names_and_addresses_from_the_proxy() {
        for (host, address) in [
            ("host", &b"\x03\x04host"[..]),
            ("127.0.0.1", b"\x01\x7f\x00\x00\x01"),
            ("[::1]", b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
        ] {
            let proxy = b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00up";
            let (down, up, is_open) = talk(host, false, proxy).unwrap();
            let expected = [b"\x05\x01\x00\x05\x01\x00", address, b"\x07\x5b"].concat();
            assert_eq!(
                (down, &up[..], is_open),
                (expected, &b"up"[..], true),
                "{host}"
            );
        }
    }

    #[test]
    fn sends_a_password_if_the_proxy_requests_one() {
        let proxy = b"\x05\x02\x01\x00\x05\x00\x00\x03\x01h\x00\x00";
        let (down, _, is_open) = talk("h", true, proxy).unwrap();
        assert!(is_open);
        let expected = b"\x05\x02\x00\x02\x01\x02me\x06secret\x05\x01\x00\x03\x01h\x07\x5b";
        assert_eq!(down, expected);
    }

    #[test]
    fn rejections_of_the_proxy_are_reported() {
        for (credentials, proxy, expected) in [
            (false, &b"HTTP"[..], "does not speak SOCKS5"),
            (false, b"\x05\xFF", "requires a user name"),
            (false, b"\x05\x02", "requires a user name"),
            (true, b"\x05\x02\x01\x01", "rejected the user name"),
            (false, b"\x05\x00\x05\x05\x00", "refused its connection"),
            (false, b"\x05\x00\x05\x00\x00\x09", "does not speak SOCKS5"),
        ] {
            let error = talk("h", credentials, proxy).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
