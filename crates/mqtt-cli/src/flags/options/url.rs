//! Parses the value of `-L`, a URL with host, port, credentials and topic, the same without a topic for `MQTT_URL` and
//! profiles, and the URL of `--proxy`.

use std::borrow::Cow;
use std::ffi::OsStr;

use mqtt_client::session::Printable;
use mqtt_transport::{Credentials, Proxy, ProxyProtocol, split_host_and_port};

use crate::failure::Failure;
use crate::flags::settings::connection::{ClientSettings, ConnectionSettings};
use crate::flags::values::plain_text;

/// The port of SOCKS5 proxies (RFC 1928).
const SOCKS5_PORT: u16 = 1080;

/// The default port of HTTP proxies, which is that of Squid.
const HTTP_PORT: u16 = 3128;

/// Applies the URL of `-L` as if `-h`, `-p`, `-u`, `-P` and `-t` had been given at this place.
///
/// Only user name and password are decoded: `%40` means `@`. Like in the mosquitto tools, the topic is not decoded,
/// because a topic may contain a percent sign.
pub(super) fn apply(settings: &mut impl ClientSettings, url: &str) -> Result<(), Failure> {
    let connection = settings.connection();
    let (default_port, rest) = apply_scheme(connection, url)?;
    // The first slash ends the authority. The topic may contain further slashes.
    let (authority, topic) = rest.split_once('/').ok_or_else(|| {
        Failure::usage("Invalid URL for -L argument specified - topic missing.")
            .with_hint("Write a URL as 'mqtt://localhost:1883/topic'.")
    })?;
    apply_authority(connection, authority, default_port, "-L")?;
    settings.add_topic(OsStr::new(topic))
}

/// Applies a URL of `MQTT_URL` or of a profile, which names a broker and no topic. The path of a WebSocket URL is the
/// path of the WebSocket, as in other programs that read such a URL.
///
/// # Errors
/// If the URL is wrong. The error does not contain the password.
pub(crate) fn apply_broker(connection: &mut ConnectionSettings, url: &str) -> Result<(), Failure> {
    let (default_port, rest) = apply_scheme(connection, url)?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    match path {
        "" | "/" => {}
        path if connection.transport.websocket => {
            connection.transport.websocket_path = Some(path.to_owned());
        }
        _ => {
            return Err(
                Failure::usage("Invalid URL: text follows the host and the port.")
                    .with_hint("Give the topic with -t, and write a '/' in a password as %2F."),
            );
        }
    }
    apply_authority(connection, authority, default_port, "the URL")
}

/// Applies the part of a URL between the scheme and the first slash: credentials, host and port. `option` names the URL
/// in errors.
fn apply_authority(
    connection: &mut ConnectionSettings,
    authority: &str,
    default_port: u16,
    option: &str,
) -> Result<(), Failure> {
    // The last '@' ends the credentials: an unencoded password may contain an '@', and a host cannot.
    let address = match authority.rsplit_once('@') {
        None => authority,
        Some((credentials, rest)) => {
            apply_credentials(connection, credentials, option)?;
            rest
        }
    };
    // Text before an '@' was meant as credentials, even if it is empty.
    let has_credentials = address.len() < authority.len();
    let (host, port) = host_and_port(address).map_err(|error| match error {
        HostError::Host => Failure::usage(format!("{} - bad host.", invalid_url(option)))
            .with_hint(
                "The brackets around the address do not match: write 'mqtt://[::1]:1883/topic'.",
            ),
        HostError::Port(port) => Failure::usage(if has_credentials {
            format!("Invalid port given: {}", Printable(port))
        } else {
            // Without an '@', this text may be the start of a password that contains a slash, so the error does not
            // show it.
            match option {
                "-L" => "Invalid port given in the URL of -L.".to_owned(),
                _ => "Invalid port given.".to_owned(),
            }
        })
        .with_hint("The port must be a number from 1 to 65535; write a '/' in a password as %2F."),
    })?;
    if host.is_empty() {
        return Err(
            Failure::usage(format!("{} - host missing.", invalid_url(option)))
                .with_hint("Write a URL as 'mqtt://localhost:1883/topic'."),
        );
    }
    connection.set_host(&with_plain_zone(host));
    // The URL also replaces the port of an earlier -p.
    connection.port = Some(port.unwrap_or(default_port));
    Ok(())
}

/// Returns the beginning of an error about a URL. An error about `-L` has the words of the mosquitto tools.
fn invalid_url(option: &str) -> &'static str {
    match option {
        "-L" => "Invalid URL for -L argument specified",
        _ => "Invalid URL",
    }
}

/// Turns on TLS and WebSocket according to the scheme of a URL. Returns the default port and the rest of the URL.
///
/// # Errors
/// If the scheme is unsupported.
fn apply_scheme<'a>(
    connection: &mut ConnectionSettings,
    url: &'a str,
) -> Result<(u16, &'a str), Failure> {
    let unsupported = || {
        Failure::usage("Unsupported URL scheme.")
            .with_hint("Write a URL as 'mqtt://localhost:1883/topic'; the schemes are mqtt, mqtts, ws and wss.")
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(unsupported)?;
    let (uses_tls, uses_websocket) = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" => (false, false),
        "mqtts" => (true, false),
        "ws" => (false, true),
        "wss" => (true, true),
        _ => return Err(unsupported()),
    };
    if uses_tls {
        connection.transport.use_tls();
    }
    if uses_websocket {
        connection.transport.use_websocket();
    }
    // Like in the mosquitto tools, WebSocket has the ports of MQTT as defaults, not 80 and 443.
    Ok((if uses_tls { 8883 } else { 1883 }, rest))
}

/// Sets the user name of a URL, and the password if there is one.
fn apply_credentials(
    connection: &mut ConnectionSettings,
    credentials: &str,
    option: &str,
) -> Result<(), Failure> {
    let (user_name, password) = match credentials.split_once(':') {
        Some((user_name, password)) => (user_name, Some(password)),
        None => (credentials, None),
    };
    connection.user_name = Some(user_name_of(user_name, option)?);
    if let Some(password) = password {
        connection.password.set(decoded(password, option)?.into());
    }
    Ok(())
}

/// Returns the proxy that the URL of `--proxy` names.
///
/// # Errors
/// If the URL does not name a supported proxy. The error does not contain a password.
pub(super) fn proxy(url: &str) -> Result<Proxy, Failure> {
    let known = [
        ("socks5h://", ProxyProtocol::Socks5, SOCKS5_PORT),
        ("http://", ProxyProtocol::Http, HTTP_PORT),
    ];
    let mut known = known
        .into_iter()
        .filter_map(|(scheme, protocol, port)| Some((url.strip_prefix(scheme)?, protocol, port)));
    let Some((rest, protocol, default_port)) = known.next() else {
        // The error shows only the scheme, because the rest of the URL may contain a password.
        let scheme = url.split_once("://").map_or("none", |(scheme, _)| scheme);
        let text = format!("Unsupported proxy protocol: {}", Printable(scheme));
        let hint = "Write a proxy as 'socks5h://localhost:1080' or 'http://localhost:3128'.";
        return Err(Failure::usage(text).with_hint(hint));
    };
    // curl and browsers accept a slash at the end of the URL.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (credentials, address) = match rest.rsplit_once('@') {
        None => (None, rest),
        Some((credentials, rest)) => {
            let (user_name, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            if password.contains(':') {
                return Err(Failure::usage("Username cannot contain ':'.")
                    .with_hint("Write a ':' in a user name or a password as %3A."));
            }
            let credentials = Credentials {
                user_name: decoded(user_name, "--proxy")?,
                password: decoded(password, "--proxy")?,
            };
            (Some(credentials), rest)
        }
    };
    let (host, port) = host_and_port(address).map_err(|error| match error {
        HostError::Host => Failure::usage("Invalid proxy.")
            .with_hint("The brackets around the address do not match."),
        HostError::Port(port) => Failure::usage(match credentials {
            Some(_) => format!("Invalid proxy port {}", Printable(port)),
            // The text may be a password after which the host is missing, so the error does not show it.
            None => "Invalid proxy port".to_owned(),
        })
        .with_hint("The port must be a number from 1 to 65535."),
    })?;
    if host.is_empty() {
        return Err(Failure::usage("Invalid proxy.").with_hint("The host is missing in the URL."));
    }
    Ok(Proxy {
        protocol,
        host: with_plain_zone(host).into_owned(),
        port: port.unwrap_or(default_port),
        credentials,
    })
}

/// The part of a URL that is invalid. The text of `Port` may be a secret.
#[derive(Debug)]
enum HostError<'a> {
    Host,
    Port(&'a str),
}

/// Splits a host, or an IPv6 address in brackets, from the port, if there is one.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), HostError<'_>> {
    let (host, port) = split_host_and_port(text).ok_or(HostError::Host)?;
    let number = port.map(|port| port.parse().map_err(|_| HostError::Port(port)));
    Ok((host, number.transpose()?))
}

/// Returns the host with `%` before the zone of an IPv6 address. In a URL this `%` is written as `%25` [RFC 6874]; the
/// mosquitto tools accept only `%`.
fn with_plain_zone(host: &str) -> Cow<'_, str> {
    match host.split_once("%25") {
        // `%25]` is the zone 25, written with a plain `%` as for the mosquitto tools.
        Some((address, zone)) if address.starts_with('[') && zone != "]" => {
            format!("{address}%{zone}").into()
        }
        _ => host.into(),
    }
}

/// Returns the user name of a URL, with the rules of `-u`.
fn user_name_of(encoded: &str, option: &str) -> Result<String, Failure> {
    let decoded = decoded(encoded, option)?;
    plain_text(OsStr::new(&decoded), option).map(str::to_owned)
}

/// Returns the text with percent-encoded bytes, such as `%40`, decoded.
///
/// # Errors
/// If the result is not UTF-8.
fn decoded(text: &str, option: &str) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        // A '%' without two hexadecimal digits after it stays. The mosquitto tools decode nothing, so most URLs that
        // were written for them keep their meaning.
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
        .map_err(|_| Failure::usage(format!("Malformed UTF-8 in {option} argument.")))
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
            assert_eq!(host_and_port(text).unwrap(), expected);
        }
        for text in ["h:", "h:65536", "h:x", "[::1]x", "[::1"] {
            let result = host_and_port(text);
            assert!(result.is_err(), "{text}: {result:?}");
        }
    }

    #[test]
    fn zone_of_an_address_may_be_percent_encoded_or_plain() {
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
    fn proxy_url_has_a_host_and_optional_credentials() {
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
    fn credentials_are_percent_decoded_and_other_percent_signs_are_kept() {
        for (text, expected) in [
            ("a%40b%3a", "a@b:"),
            ("100%", "100%"),
            ("%zz%4%+1", "%zz%4%+1"),
        ] {
            assert_eq!(decoded(text, "-L").unwrap(), expected);
        }
        assert!(decoded("%ff", "-L").is_err());
    }
}
