//! HTTP proxies: the method CONNECT (RFC 9110, section 9.3.6) with Basic credentials (RFC 7617). The proxy resolves the
//! host name and connects to the server.

use std::io;

use data_encoding::BASE64;

use super::handshake_error::LayerKind;
use super::layers::Layer;
use super::proxy::{Credentials, ProxyError};

/// Maximum number of bytes in the head of an answer.
const MAXIMUM_HEAD: usize = 16 * 1024;

/// Maximum number of headers in an answer.
const MAXIMUM_HEADERS: usize = 64;

/// Client side of an HTTP proxy. After the proxy has connected, the layer passes bytes unchanged.
#[derive(Debug)]
pub(crate) struct HttpProxyLayer {
    /// Host and port of the server, in the form of the request.
    target: String,
    credentials: Option<Credentials>,
    is_open: bool,
    input: Vec<u8>,
}

impl HttpProxyLayer {
    /// Returns a layer for a socket that is connected to the proxy. `host` and `port` are those of the server.
    pub(crate) fn new(host: &str, port: u16, credentials: Option<Credentials>) -> Self {
        Self {
            target: crate::authority::with_port(host, port),
            credentials,
            is_open: false,
            input: Vec::new(),
        }
    }

    /// Returns the length of the head of an answer that reports success, or `None` if the head is incomplete.
    fn accepted(&self) -> Result<Option<usize>, ProxyError> {
        let mut headers = [httparse::EMPTY_HEADER; MAXIMUM_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&self.input) {
            Err(_) => Err(ProxyError::NotHttp),
            // A peer that sends an endless head must not fill the memory.
            Ok(httparse::Status::Partial) if self.input.len() > MAXIMUM_HEAD => {
                Err(ProxyError::NotHttp)
            }
            Ok(httparse::Status::Partial) => Ok(None),
            // Every 2xx status is success. The bytes after the head come from the server (RFC 9110, section 9.3.6).
            Ok(httparse::Status::Complete(length)) => match response.code.unwrap_or(0) {
                200..=299 => Ok(Some(length)),
                // 407 (Proxy Authentication Required) has two causes, which the user corrects in different ways.
                407 if self.credentials.is_some() => Err(ProxyError::Credentials),
                407 => Err(ProxyError::Method),
                status => Err(ProxyError::Status(status)),
            },
        }
    }
}

impl Layer for HttpProxyLayer {
    fn kind(&self) -> LayerKind {
        LayerKind::Proxy
    }

    fn start(&mut self, down: &mut Vec<u8>) -> io::Result<()> {
        let target = &self.target;
        down.extend(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes());
        if let Some(Credentials {
            user_name,
            password,
        }) = &self.credentials
        {
            let pair = BASE64.encode(format!("{user_name}:{password}").as_bytes());
            down.extend(format!("Proxy-Authorization: Basic {pair}\r\n").into_bytes());
        }
        down.extend(b"\r\n");
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8], up: &mut Vec<u8>, _: &mut Vec<u8>) -> io::Result<()> {
        if self.is_open {
            up.extend_from_slice(bytes);
            return Ok(());
        }
        self.input.extend_from_slice(bytes);
        if let Some(length) = self.accepted()? {
            self.is_open = true;
            // The same bytes may contain data of the server, if the server sends first.
            up.extend(self.input.drain(..).skip(length));
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> io::Result<()> {
        down.extend_from_slice(bytes);
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.is_open
    }

    fn close(&mut self, _: &mut Vec<u8>) {}

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes the answer of a proxy to the layer, one byte at a time. Returns the bytes for the proxy, the bytes for
    /// MQTT, and `true` if the layer is open.
    fn talk(host: &str, credentials: bool, proxy: &str) -> io::Result<(String, String, bool)> {
        let credentials = credentials.then(|| Credentials {
            user_name: "me".into(),
            password: "p:ss".into(),
        });
        let mut layer = HttpProxyLayer::new(host, 1883, credentials);
        let (mut up, mut down) = (Vec::new(), Vec::new());
        layer.start(&mut down)?;
        for byte in proxy.bytes() {
            layer.receive(&[byte], &mut up, &mut down)?;
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok((text(down), text(up), layer.is_open()))
    }

    #[test]
    fn requests_the_server_from_the_proxy_and_then_forwards_bytes() {
        let answer = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nup";
        for (host, target) in [
            ("host", "host:1883"),
            ("[::1]", "[::1]:1883"),
            ("::1", "[::1]:1883"),
        ] {
            let (down, up, is_open) = talk(host, false, answer).unwrap();
            assert_eq!(
                down,
                format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
            );
            assert_eq!((up.as_str(), is_open), ("up", true));
        }
        let (down, ..) = talk("host", true, answer).unwrap();
        assert!(
            down.ends_with("\r\nProxy-Authorization: Basic bWU6cDpzcw==\r\n\r\n"),
            "{down}"
        );
        let (_, up, is_open) = talk("host", false, "HTTP/1.1 200 OK\r\nVia").unwrap();
        assert_eq!((up.as_str(), is_open), ("", false));
    }

    #[test]
    fn rejections_of_the_proxy_are_reported() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAXIMUM_HEAD));
        for (credentials, proxy, expected) in [
            (false, "\x05\x01", "does not speak HTTP"),
            (false, "SSH-2.0-x\r\n", "does not speak HTTP"),
            (false, long.as_str(), "does not speak HTTP"),
            (false, "HTTP/1.1 407 x\r\n\r\n", "requires a user name"),
            (true, "HTTP/1.1 407 x\r\n\r\n", "rejected the user name"),
            (false, "HTTP/1.1 403 x\r\n\r\n", "its rules forbid"),
            (
                false,
                "HTTP/1.0 502 x\r\n\r\n",
                "cannot reach the host (status 502)",
            ),
            (false, "HTTP/1.1 302 x\r\n\r\n", "status 302"),
        ] {
            let error = talk("h", credentials, proxy).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
