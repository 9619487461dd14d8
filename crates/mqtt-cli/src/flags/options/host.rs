//! The options for the address of the broker.

use std::ffi::OsStr;

use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::options::url;
use crate::flags::settings::connection::ClientSettings;
use crate::flags::values::{number, text};
use crate::wording::shown;

/// Returns the options that name the broker. A URL overrides the hosts and the port before it, and a later `-h` or `-p`
/// overrides the URL.
pub(crate) fn host_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-h",
            "--host",
            "host",
            "Broker host name or address. Repeat the option to add fallback hosts [default: localhost]",
            |s: &mut S, v| {
                // The host is checked after all options are applied, because -p 0 makes it a path.
                s.connection().add_host(text(v, "-h")?);
                Ok(())
            },
        )
        .common(),
        value(
            "-p",
            "--port",
            "port",
            "Broker port [default: 1883, or 8883 with --cafile or --capath]. Port 8883 alone turns on TLS",
            |s: &mut S, v| {
                s.connection().port = Some(port(v)?);
                Ok(())
            },
        )
        .common(),
        value(
            "-L",
            "--url",
            "URL",
            "Broker, credentials and topic in one URL: mqtt://USER:PW@HOST:PORT/TOPIC, or with mqtts://, ws:// or wss://",
            |s: &mut S, v| url::apply(s, text(v, "-L")?),
        )
        .common(),
    ]
}

/// Returns the option that allows a broker to name another broker.
pub(crate) fn redirect_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![flag(
        "",
        "--follow-redirects",
        "Connect to the other broker that the broker refers to, with user name and password (Server Reference of MQTT 5.0)",
        |s: &mut S| s.connection().follow_redirects = true,
    )]
}

/// Returns the port of `-p`. With port 0 the host is the path of a Unix socket.
fn port(value: &OsStr) -> Result<u16, Failure> {
    number(value).ok_or_else(|| {
        Failure::usage(format!("Invalid port given: {}", shown(value)))
            .with_hint("A port must be a number from 1 to 65535.")
    })
}
