//! Parser for URLs of brokers: `mqtt://`, `mqtts://`, `ws://` and `wss://`.

use mqtt_transport::split_host_and_port;

use crate::client::error::ConnectError;

/// Parts of a URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) has_tls: bool,
    /// Path of the WebSocket request, if the URL has the scheme `ws` or `wss`.
    pub(super) websocket: Option<String>,
    pub(super) user_name: Option<String>,
    pub(super) password: Option<Vec<u8>>,
}

/// Port at which brokers use TLS.
pub(super) const TLS_PORT: u16 = 8883;

impl Url {
    /// Parses a URL. Errors do not contain the URL, because it may contain a password.
    pub(super) fn parse(text: &str) -> Result<Self, ConnectError> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| invalid("the scheme is missing (write a URL as 'mqtt://localhost')"))?;
        let (is_websocket, has_tls, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => (false, false, 1883),
            "mqtts" | "ssl" => (false, true, TLS_PORT),
            "ws" => (true, false, 80),
            "wss" => (true, true, 443),
            _ => {
                let text = format!("unknown scheme {scheme:?}: expected mqtt, mqtts, ws or wss");
                return Err(invalid(text));
            }
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if !is_websocket && !matches!(path, "" | "/") {
            return Err(invalid("only ws and wss have a path or a query"));
        }
        // A password may contain '@', so the last '@' ends the credentials.
        let (credentials, host_and_port) = match authority.rsplit_once('@') {
            None => (None, authority),
            Some((credentials, rest)) => (Some(credentials), rest),
        };
        let (user_name, password) = match credentials.map(|text| text.split_once(':')) {
            None => (None, None),
            Some(None) => (credentials, None),
            Some(Some((user_name, password))) => (Some(user_name), Some(password)),
        };
        let (host, port) = split_host_and_port(host_and_port)
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| invalid("the host is missing or malformed"))?;
        let port = match port {
            None => default_port,
            Some(port) => {
                let port = port.parse().ok().filter(|port| *port > 0);
                port.ok_or_else(|| invalid("the port must be a number from 1 to 65535"))?
            }
        };
        let user_name = user_name.map(decode).transpose()?.map(String::from_utf8);
        let user_name = user_name.transpose();
        Ok(Self {
            host: host.to_owned(),
            port,
            // With the schemes `ws` and `wss`, port 8883 has no special meaning.
            has_tls: has_tls || !is_websocket && port == TLS_PORT,
            websocket: is_websocket.then(|| {
                if matches!(path, "" | "/") {
                    "/mqtt".to_owned()
                } else {
                    path.to_owned()
                }
            }),
            user_name: user_name.map_err(|_| invalid("the user name is not UTF-8"))?,
            password: password.map(decode).transpose()?,
        })
    }
}

/// Decodes percent-encoded bytes such as `%40`.
fn decode(text: &str) -> Result<Vec<u8>, ConnectError> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let byte = byte.ok_or_else(|| {
            invalid("two hexadecimal digits must follow each '%' in the credentials")
        })?;
        bytes.push(byte);
        bytes.extend_from_slice(part.as_bytes().get(2..).unwrap_or_default());
    }
    Ok(bytes)
}

fn invalid(message: impl Into<String>) -> ConnectError {
    ConnectError::invalid_option("URL", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_scheme_host_port_credentials_and_path() {
        for (text, host, port, has_tls, websocket) in [
            ("mqtt://h", "h", 1883, false, None),
            ("MQTT://h/", "h", 1883, false, None),
            ("mqtt://h:8883", "h", 8883, true, None),
            ("mqtts://h:1", "h", 1, true, None),
            ("mqtts://[::1]", "[::1]", 8883, true, None),
            ("ws://h", "h", 80, false, Some("/mqtt")),
            ("ws://h:8883/a?b", "h", 8883, false, Some("/a?b")),
            ("wss://h", "h", 443, true, Some("/mqtt")),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((&*url.host, url.port, url.has_tls), (host, port, has_tls));
            assert_eq!(url.websocket.as_deref(), websocket, "{text}");
        }
        let url = Url::parse("mqtts://me%40x:s%3Acr@t@h").unwrap();
        assert_eq!(url.user_name.as_deref(), Some("me@x"));
        assert_eq!(url.password.as_deref(), Some(&b"s:cr@t"[..]));
        assert_eq!(url.host, "h");
    }

    #[test]
    fn a_wrong_url_is_an_error_without_its_password() {
        for text in [
            "h",
            "http://h",
            "mqtt://",
            "mqtt://me:secret@",
            "mqtt://me:secret@h:x",
            "mqtt://me:secret@h:0",
            "mqtt://me:secret@[::1",
            "mqtt://me:secret@h/topic",
            "mqtt://me:secret%4@h",
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
