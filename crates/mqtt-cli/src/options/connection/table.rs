//! The options that all client programs share, and how their values are read.

use std::ffi::OsStr;
use std::time::Duration;

use bytes::Bytes;
use mqtt_codec::ProtocolVersion;

use crate::arguments::{CommandOption, duration, flag, number, optional, plain_text, text, value};
use crate::exit::Failure;
use crate::options::{shown, url};
use crate::trace::Form;

use super::ClientSettings;

/// The table. A later option wins over an earlier one, also where one of them is a URL.
pub(crate) fn connection_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    let groups = [where_to(), as_whom(), session(), telling()];
    groups.into_iter().flatten().collect()
}

/// Where to connect, and how long to try.
fn where_to<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-h",
            "--host",
            "host",
            "Host to connect to: a name or an address; further ones are turned to if it cannot \
             be reached [localhost]",
            |s: &mut S, v| {
                s.connection().add_host(text(v, "-h")?);
                Ok(())
            },
        ),
        value(
            "-p",
            "--port",
            "port",
            "Port to connect to [1883]",
            |s: &mut S, v| {
                s.connection().port = Some(port(v)?);
                Ok(())
            },
        ),
        value(
            "-L",
            "--url",
            "URL",
            "All in one: mqtt://[username[:password]@]host[:port]/topic",
            |s: &mut S, v| url::apply(s, text(v, "-L")?),
        ),
        value(
            "-A",
            "",
            "address",
            "Address of this machine to connect from",
            |s: &mut S, v| {
                s.connection().local_address = Some(text(v, "-A")?.to_owned());
                Ok(())
            },
        ),
        value(
            "",
            "--tcp-keepalive",
            "duration",
            "Let the system ask after so long a silence whether the broker's machine is there",
            |s: &mut S, v| {
                s.connection().tcp_keep_alive = Some(time(v, "--tcp-keepalive")?);
                Ok(())
            },
        ),
        flag(
            "",
            "--nodelay",
            "Send small packets at once; always so here",
            |_| {},
        ),
        value(
            "",
            "--connect-timeout",
            "duration",
            "Timeout for connecting and for each answer [30s]",
            |s: &mut S, v| {
                s.connection().connect_timeout = time(v, "--connect-timeout")?;
                Ok(())
            },
        ),
        value(
            "",
            "--wait",
            "duration",
            "Keep trying for this long if the broker is not up yet",
            |s: &mut S, v| {
                s.connection().wait_for_server = time(v, "--wait")?;
                Ok(())
            },
        ),
        value(
            "",
            "--reconnect-max",
            "duration",
            "Give up if the connection is lost for this long",
            |s: &mut S, v| {
                s.connection().reconnect_for = Some(time(v, "--reconnect-max")?);
                Ok(())
            },
        ),
        flag(
            "",
            "--follow-redirects",
            "Follow the Server Reference of a broker (MQTT 5)",
            |s: &mut S| s.connection().follow_redirects = true,
        ),
    ]
}

/// Who the client is.
fn as_whom<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-i",
            "--id",
            "id",
            "Client identifier; the broker chooses one if there is none",
            |s: &mut S, v| {
                let identifier = plain_text(v, "-i")?;
                if identifier.is_empty() {
                    return Err(
                        Failure::usage("Invalid id.").with_hint("The value of -i is empty.")
                    );
                }
                let connection = s.connection();
                connection.client_identifier = Some(identifier.to_owned());
                connection.check_identifier()
            },
        ),
        value(
            "-I",
            "--id-prefix",
            "id prefix",
            "Client identifier that is this prefix and the process number",
            |s: &mut S, v| {
                let connection = s.connection();
                connection.prefix = Some(plain_text(v, "-I")?.to_owned());
                connection.check_identifier()
            },
        ),
        value(
            "-u",
            "--username",
            "username",
            "User name",
            |s: &mut S, v| {
                s.connection().user_name = Some(plain_text(v, "-u")?.to_owned());
                Ok(())
            },
        ),
        value(
            "-P",
            "--pw",
            "password",
            "Password. Others on this machine can see it in the list of processes: --password-file and the variable MQTT_PASSWORD keep it out of there",
            |s: &mut S, v| {
                s.connection().password = Some(Bytes::copy_from_slice(v.as_encoded_bytes()));
                Ok(())
            },
        ),
        value(
            "",
            "--password-file",
            "file",
            "File with the password; the newline at its end is no part of it",
            |s: &mut S, v| {
                s.connection().password_file = Some(v.into());
                Ok(())
            },
        ),
    ]
}

/// What is agreed with the broker.
fn session<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-V",
            "--protocol-version",
            "version",
            "Protocol version: 5, 311 or 31 (also mqttv5, mqttv311, mqttv31)",
            |s: &mut S, v| {
                s.connection().version = version(v)?;
                Ok(())
            },
        ),
        flag(
            "-c",
            "--disable-clean-session",
            "Keep the session when disconnected, and go on with it; needs -i",
            |s: &mut S| {
                s.connection().keep_session = true;
            },
        ),
        value(
            "-x",
            "",
            "session expiry interval",
            "Seconds that the broker keeps the session; -1 is for ever (MQTT 5)",
            |s: &mut S, v| {
                let connection = s.connection();
                connection.session_expiry = Some(session_expiry(v)?);
                connection.use_version_5();
                Ok(())
            },
        ),
        value(
            "-k",
            "--keepalive",
            "keepalive",
            "Keep alive: seconds, or a time such as 1m; 5 s to 65535 s [60]",
            |s: &mut S, v| {
                s.connection().keep_alive = keep_alive(v)?;
                Ok(())
            },
        ),
        value(
            "-M",
            "",
            "max_inflight",
            "Messages of QoS 1 and 2 that may be under way at a time [20; with MQTT 5 what the broker takes]",
            |s: &mut S, v| {
                s.connection().maximum_in_flight = Some(in_flight(v)?);
                Ok(())
            },
        ),
    ]
}

/// What the program reads and says.
fn telling<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-o",
            "",
            "options file",
            "File with options, one on each line, instead of the one in ~/.config",
            |_, _| Ok(()),
        ),
        flag(
            "-d",
            "--debug",
            "Print a line for each packet",
            |s: &mut S| s.connection().debug = true,
        ),
        optional(
            "--trace",
            "form",
            "Print each packet as it goes, decoded; as JSON with --trace=json",
            |s: &mut S, v| {
                s.connection().trace = Some(Form::parse(v)?);
                Ok(())
            },
        ),
        flag(
            "",
            "--quiet",
            "Print no errors of the connection",
            |s: &mut S| s.connection().quiet = true,
        ),
    ]
}

fn port(value: &OsStr) -> Result<u16, Failure> {
    number(value).ok_or_else(|| {
        Failure::usage(format!("Invalid port given: {}", shown(value)))
            .with_hint("A port is a number from 1 to 65535.")
    })
}

fn version(value: &OsStr) -> Result<ProtocolVersion, Failure> {
    match value.to_str() {
        Some("5" | "mqttv5") => Ok(ProtocolVersion::V5_0),
        Some("311" | "mqttv311") => Ok(ProtocolVersion::V3_1_1),
        Some("31" | "mqttv31") => Ok(ProtocolVersion::V3_1),
        _ => Err(Failure::usage("Invalid protocol version argument given.")
            .with_hint("The versions are 5, 311 and 31.")),
    }
}

fn keep_alive(value: &OsStr) -> Result<u16, Failure> {
    let seconds = duration(value).map(|time| time.as_secs());
    seconds
        .and_then(|seconds| u16::try_from(seconds).ok())
        .filter(|seconds| *seconds >= 5)
        .ok_or_else(|| {
            Failure::usage("Invalid keepalive given, it must be between 5 and 65535 inclusive.")
        })
}

fn session_expiry(value: &OsStr) -> Result<u32, Failure> {
    if value == "∞" {
        return Ok(u32::MAX);
    }
    let seconds: i128 =
        number(value).ok_or_else(|| Failure::usage("session-expiry-interval not a number."))?;
    match seconds {
        -1 => Ok(u32::MAX),
        seconds => u32::try_from(seconds)
            .map_err(|_| Failure::usage("session-expiry-interval out of range.")),
    }
}

fn in_flight(value: &OsStr) -> Result<u16, Failure> {
    let count: Option<u32> = number(value).filter(|count| *count > 0);
    count
        .map(|count| u16::try_from(count).unwrap_or(u16::MAX))
        .ok_or_else(|| Failure::usage("Maximum inflight messages must be greater than 0."))
}

/// A time of one of our own options.
fn time(value: &OsStr, option: &str) -> Result<Duration, Failure> {
    duration(value).ok_or_else(|| {
        Failure::usage(format!("Invalid time given for {option}: {}", shown(value)))
            .with_hint("A time is a number of seconds, or has units: 30, 1.5, 30s, 2m.")
    })
}
