//! `-L`: host, port, credentials and topic in one URL; and `--proxy`.

use std::borrow::Cow;
use std::ffi::OsStr;

use bytes::Bytes;
use mqtt_client::session::Printable;
use mqtt_transport::{Credentials, Proxy, ProxyProtocol};

use crate::arguments::plain_text;
use crate::exit::Failure;

use super::ClientSettings;

/// The port of SOCKS5.
const SOCKS5_PORT: u16 = 1080;

/// Where proxies for HTTP listen, by habit.
const HTTP_PORT: u16 = 3128;

/// Sets what the URL names, as `-h`, `-p`, `-u`, `-P` and `-t` in its place would.
///
/// Nothing is decoded but in user name and password, where `%40` may stand for `@`, and so on.
pub(super) fn apply(settings: &mut impl ClientSettings, url: &str) -> Result<(), Failure> {
    let unsupported = || {
        Failure::usage("Unsupported URL scheme.")
            .with_hint("An example: mqtt://localhost:1883/topic")
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(unsupported)?;
    let connection = settings.connection();
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" => 1883,
        "mqtts" => {
            connection.transport.use_tls();
            8883
        }
        "ws" => {
            connection.transport.use_websocket();
            1883
        }
        "wss" => {
            connection.transport.use_websocket();
            connection.transport.use_tls();
            8883
        }
        _ => return Err(unsupported()),
    };
    let (authority, topic) = rest.split_once('/').ok_or_else(|| {
        Failure::usage("Invalid URL for -L argument specified - topic missing.")
            .with_hint("An example: mqtt://localhost:1883/topic")
    })?;
    let host_and_port = match authority.rsplit_once('@') {
        None => authority,
        Some((credentials, rest)) => {
            let (user_name, password) = match credentials.split_once(':') {
                Some((user_name, password)) => (user_name, Some(password)),
                None => (credentials, None),
            };
            connection.user_name = Some(user_name_of(user_name)?);
            if let Some(password) = password {
                connection.password = Some(Bytes::from(decoded(password, "password")?));
            }
            rest
        }
    };
    let (host, port) = split_port(host_and_port)?;
    if host.is_empty() {
        return Err(Failure::usage(
            "Invalid URL for -L argument specified - host missing.",
        ));
    }
    connection.set_host(&with_plain_zone(host));
    connection.port = Some(port.unwrap_or(default_port));
    settings.add_topic(OsStr::new(topic))
}

/// The proxy of `--proxy`.
pub(super) fn proxy(url: &str) -> Result<Proxy, Failure> {
    let known = [
        ("socks5h://", ProxyProtocol::Socks5, SOCKS5_PORT),
        ("http://", ProxyProtocol::Http, HTTP_PORT),
    ];
    let mut known = known
        .into_iter()
        .filter_map(|(scheme, protocol, port)| Some((url.strip_prefix(scheme)?, protocol, port)));
    let Some((rest, protocol, default_port)) = known.next() else {
        let text = format!("Unsupported proxy protocol: {}", Printable(url));
        let hint = "Examples: socks5h://localhost:1080, http://localhost:3128";
        return Err(Failure::usage(text).with_hint(hint));
    };
    // Behind the port a URL may have a slash.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (credentials, host_and_port) = match rest.rsplit_once('@') {
        None => (None, rest),
        Some((credentials, rest)) => {
            let (user_name, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            if password.contains(':') {
                return Err(Failure::usage("Username cannot contain ':'.")
                    .with_hint("A ':' in a user name or a password is written as %3A."));
            }
            let credentials = Credentials {
                user_name: decoded(user_name, "user name")?,
                password: decoded(password, "password")?,
            };
            (Some(credentials), rest)
        }
    };
    let (host, port) = split_port(host_and_port).map_err(|_| {
        let port = host_and_port.rsplit(':').next().unwrap_or_default();
        Failure::usage(format!("Invalid proxy port {}", Printable(port)))
    })?;
    if host.is_empty() {
        return Err(Failure::usage("Invalid proxy.").with_hint("The host is missing."));
    }
    Ok(Proxy {
        protocol,
        host: with_plain_zone(host).into_owned(),
        port: port.unwrap_or(default_port),
        credentials,
    })
}

/// A host, or an IPv6 address in brackets, and perhaps a port.
fn split_port(text: &str) -> Result<(&str, Option<u16>), Failure> {
    let bad_host = || Failure::usage("Invalid URL for -L argument specified - bad host.");
    let end_of_host = match text.starts_with('[') {
        true => text.find(']').ok_or_else(bad_host)? + 1,
        false => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(end_of_host);
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        Some(port) => match port.parse() {
            Ok(port) => Ok((host, Some(port))),
            Err(_) => Err(Failure::usage(format!("Invalid port given: {port}"))
                .with_hint("The port in the URL of -L is a number from 1 to 65535.")),
        },
        None => Err(bad_host()),
    }
}

/// Returns the host with `%` before the zone of an IPv6 address, which is `%25` in a URL [RFC 6874]. mosquitto's tools
/// take `%` alone.
fn with_plain_zone(host: &str) -> Cow<'_, str> {
    match host.split_once("%25") {
        Some((address, zone)) if address.starts_with('[') && zone != "]" => {
            format!("{address}%{zone}").into()
        }
        _ => host.into(),
    }
}

/// Returns the user name of a URL, with the rules of `-u`.
fn user_name_of(encoded: &str) -> Result<String, Failure> {
    let decoded = decoded(encoded, "user name")?;
    plain_text(OsStr::new(&decoded), "-L").map(str::to_owned)
}

/// With `%40` and the like as the characters they stand for.
fn decoded(text: &str, what: &str) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        // Not an escape: mosquitto's tools take every character as it is.
        let digits = part
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.as_bytes().get(2..).unwrap_or_default());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("Malformed UTF-8 in the {what} of the -L argument.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_have_brackets_and_a_port() {
        for (text, expected) in [
            ("h", ("h", None)),
            ("h:1", ("h", Some(1))),
            ("[::1]", ("[::1]", None)),
            ("[::1]:65535", ("[::1]", Some(65535))),
        ] {
            assert_eq!(split_port(text).unwrap(), expected);
        }
        for text in ["h:", "h:65536", "h:x", "[::1]x", "[::1"] {
            let result = split_port(text);
            assert!(result.is_err(), "{text}: {result:?}");
        }
    }

    #[test]
    fn a_zone_may_be_written_as_in_a_url_or_as_it_is() {
        for (host, expected) in [
            ("[fe80::1%25eth0]", "[fe80::1%eth0]"),
            ("[fe80::1%eth0]", "[fe80::1%eth0]"),
            ("[fe80::1%25]", "[fe80::1%25]"), // interface 25
            ("a%25b", "a%25b"),
        ] {
            assert_eq!(with_plain_zone(host), expected);
        }
        assert_eq!(
            proxy("http://[fe80::1%25eth0]:1").unwrap().host,
            "[fe80::1%eth0]"
        );
    }

    #[test]
    fn a_proxy_has_a_host_and_perhaps_credentials() {
        let with = |user_name: &str, password: &str| {
            Some(Credentials {
                user_name: user_name.into(),
                password: password.into(),
            })
        };
        for (text, host, port, credentials) in [
            ("socks5h://p", "p", 1080, None),
            ("socks5h://u@p:1", "p", 1, with("u", "")),
            (
                "socks5h://u%40:p%3A%25@[::1]:2",
                "[::1]",
                2,
                with("u@", "p:%"),
            ),
            ("http://p", "p", 3128, None),
            ("http://u:p@p:8080/", "p", 8080, with("u", "p")),
        ] {
            let proxy = proxy(text).unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port));
            assert_eq!(proxy.credentials, credentials);
        }
        for text in [
            "socks4://p",
            "p",
            "socks5h://",
            "socks5h://p:x",
            "socks5h://a:b:c@p",
        ] {
            assert!(proxy(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_stray_signs_stay() {
        for (text, expected) in [
            ("a%40b%3a", "a@b:"),
            ("100%", "100%"),
            ("%zz%4%+1", "%zz%4%+1"),
        ] {
            assert_eq!(decoded(text, "password").unwrap(), expected);
        }
        assert!(decoded("%ff", "password").is_err());
    }
}
