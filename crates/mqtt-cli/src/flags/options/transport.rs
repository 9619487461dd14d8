//! The options for everything between the socket and MQTT except TLS: WebSocket, Unix sockets, proxies, service records
//! and TCP.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};

use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::options::url;
use crate::flags::settings::connection::ClientSettings;
use crate::flags::values::{text, time};
use crate::wording::shown;

/// Returns the options for everything between the socket and MQTT except TLS.
pub(crate) fn transport_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    let parts = [websocket(), proxy(), services(), tcp_options()];
    parts.into_iter().flatten().collect()
}

/// Returns the options for WebSocket.
fn websocket<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "",
            "--ws",
            "Use WebSocket, at the path /mqtt",
            |s: &mut S| s.connection().transport.use_websocket(),
        ),
        value(
            "",
            "--ws-path",
            "path",
            "Use WebSocket at this path instead of /mqtt",
            |s: &mut S, v| {
                let path = text(v, "--ws-path")?;
                // The path is a part of the first line of an HTTP request. A space in the path would end the path, and
                // a line end would begin a header.
                if !path.starts_with('/') || path.contains([' ', '\r', '\n']) {
                    let text = format!("Invalid path given for --ws-path: {}", shown(v));
                    return Err(Failure::usage(text).with_hint(
                        "The path must start with a slash and must not contain spaces.",
                    ));
                }
                let transport = &mut s.connection().transport;
                transport.websocket = true;
                transport.websocket_path = Some(path.to_owned());
                Ok(())
            },
        ),
        value(
            "",
            "--ws-header",
            "header",
            "Add this HTTP header to the WebSocket request: 'NAME: VALUE'. May be repeated",
            |s: &mut S, v| {
                let header = text(v, "--ws-header")?;
                if !header.contains(':') || header.contains(['\r', '\n']) {
                    // The error does not repeat the header, which may contain a token.
                    let text =
                        "Invalid header given for --ws-header: expected 'Name: value' on one line.";
                    return Err(Failure::usage(text));
                }
                let transport = &mut s.connection().transport;
                transport.websocket = true;
                transport.websocket_headers.push(header.to_owned());
                Ok(())
            },
        ),
    ]
}

/// Returns the options for Unix sockets and proxies.
fn proxy<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--unix",
            "socket path",
            "Connect to the Unix socket at this path",
            |s: &mut S, v: &OsStr| {
                s.connection().transport.unix_path = Some(v.into());
                Ok(())
            },
        )
        .with_value_name("PATH"),
        value(
            "",
            "--proxy",
            "proxy url",
            "Connect through a proxy: socks5h:// or http://, and [USERNAME[:PASSWORD]@]HOST[:PORT]",
            |s: &mut S, v| {
                let proxy = url::proxy(text(v, "--proxy")?)?;
                s.connection().transport.proxy = Some(proxy);
                Ok(())
            },
        )
        .with_value_name("URL"),
    ]
}

/// Returns the options for DNS service records.
fn services<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "-S",
            "",
            "Look up the brokers of the domain that -h names (DNS service _mqtt._tcp, or _secure-mqtt._tcp with TLS)",
            |s: &mut S| s.connection().transport.looks_services_up = true,
        ),
        value(
            "",
            "--dns-server",
            "address",
            "DNS server for -S: ADDRESS or ADDRESS:PORT [default: the servers of the system]",
            |s: &mut S, v| {
                let words = text(v, "--dns-server")?;
                // An address without a port gets port 53, the port of DNS.
                let address = words.parse().or_else(|_| {
                    let address: Result<IpAddr, _> = words.parse();
                    address.map(|address| SocketAddr::new(address, 53))
                });
                let invalid = |_| {
                    let text = format!("Invalid address given for --dns-server: {}", shown(v));
                    Failure::usage(text).with_hint("Write the address as 10.0.0.1 or [::1]:5353.")
                };
                s.connection().transport.name_server = Some(address.map_err(invalid)?);
                Ok(())
            },
        ),
    ]
}

/// Returns the options about TCP.
fn tcp_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-A",
            "",
            "address",
            "Connect from this address of this machine",
            |s: &mut S, v| {
                s.connection().local_address = Some(text(v, "-A")?.to_owned());
                Ok(())
            },
        ),
        value(
            "",
            "--tcp-keepalive",
            "duration",
            "Send TCP keepalive probes after this idle time",
            |s: &mut S, v| {
                s.connection().tcp_keep_alive = Some(time(v, "--tcp-keepalive")?);
                Ok(())
            },
        )
        .with_value_name("TIME"),
        flag(
            "",
            "--nodelay",
            "Send small packets immediately. This is always on; the option is accepted for compatibility",
            |_| {},
        ),
    ]
}
