//! The options for the client identifier, the session, the protocol version and the timeouts.

use std::ffi::OsStr;

use mqtt_codec::ProtocolVersion;

use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::settings::connection::ClientSettings;
use crate::flags::values::{duration, number, plain_text, time};
use crate::wording::shown;

/// Returns the options for the client identifier, the session and the protocol.
pub(crate) fn session_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    let parts = [identifier(), session(), protocol()];
    parts.into_iter().flatten().collect()
}

/// Returns the options for the client identifier.
fn identifier<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-i",
            "--id",
            "id",
            "Client identifier [default: chosen by the broker]",
            |s: &mut S, v| {
                let identifier = plain_text(v, "-i")?;
                // By default the broker assigns the identifier, and an empty identifier would ask for the same. So an
                // empty value is more likely an unset variable of a script.
                if identifier.is_empty() {
                    return Err(Failure::usage("Invalid id.")
                        .with_hint("The value of -i must not be empty."));
                }
                let connection = s.connection();
                connection.client_identifier = Some(identifier.to_owned());
                connection.check_identifier()
            },
        )
        .common(),
        value(
            "-I",
            "--id-prefix",
            "id prefix",
            "Use this prefix and the process number as client identifier",
            |s: &mut S, v| {
                let connection = s.connection();
                // The process number is appended to the prefix, so that two runs at the same time have different
                // identifiers.
                connection.prefix = Some(plain_text(v, "-I")?.to_owned());
                connection.check_identifier()
            },
        )
        .with_value_name("PREFIX"),
    ]
}

/// Returns the options for the session.
fn session<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "-c",
            "--disable-clean-session",
            "Resume the session, and keep it. Needs -i",
            |s: &mut S| {
                s.connection().keep_session = true;
            },
        )
        .common(),
        value(
            "-x",
            "",
            "session expiry interval",
            "Number of seconds that the broker keeps the session after the end, or -1 for ever (selects MQTT 5.0)",
            |s: &mut S, v| {
                let connection = s.connection();
                connection.session_expiry = Some(session_expiry(v)?);
                // Earlier versions have no Session Expiry Interval, so the option would have no effect.
                connection.use_version_5();
                Ok(())
            },
        )
        .with_value_name("SECONDS"),
    ]
}

/// Returns the options for the version, the keep alive and the window.
fn protocol<S: ClientSettings>() -> Vec<CommandOption<S>> {
    // The help is static text, so a default that depends on the program needs two texts.
    let version_help = match S::VERSION {
        ProtocolVersion::V5_0 => "MQTT version: 5, 311 or 31 [default: 5]",
        ProtocolVersion::V3_1_1 | ProtocolVersion::V3_1 => {
            "MQTT version: 5, 311 or 31 [default: 311]"
        }
    };
    vec![
        value(
            "-V",
            "--protocol-version",
            "version",
            version_help,
            |s: &mut S, v| {
                s.connection().version = version(v)?;
                Ok(())
            },
        )
        .common(),
        value(
            "-k",
            "--keepalive",
            "keepalive",
            "Send a ping after this time without a packet, 5 s to 65535 s [default: 60]",
            |s: &mut S, v| {
                s.connection().keep_alive = keep_alive(v)?;
                Ok(())
            },
        )
        .with_value_name("TIME"),
        value(
            "-M",
            "",
            "max_inflight",
            "Maximum number of QoS 1 and 2 messages in flight [default: 20, with MQTT 5.0 the limit of the broker]",
            |s: &mut S, v| {
                s.connection().maximum_in_flight = Some(in_flight(v)?);
                Ok(())
            },
        )
        .with_value_name("COUNT"),
    ]
}

/// Returns the options that limit the time of the whole run, of connecting and of reconnecting.
pub(crate) fn timeout_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-W",
            "--timeout",
            "timeout",
            "End with status 27 if not done after this time: 5, 1.5 or 2m",
            |s: &mut S, v| {
                // A timeout of 0 would end the program before it connects, and mosquitto rejects it too.
                let time = duration(v).filter(|time| !time.is_zero());
                let invalid = || {
                    Failure::usage(format!("Invalid timeout \"{}\".", shown(v)))
                        .with_hint("Write a time as seconds or with units: 30, 1.5, 30s, 2m.")
                };
                s.connection().timeout = Some(time.ok_or_else(invalid)?);
                Ok(())
            },
        )
        .common()
        .with_value_name("TIME"),
        value(
            "",
            "--connect-timeout",
            "duration",
            "Give up if connecting, or then the answer to CONNECT, takes longer than this time [default: 30s]",
            |s: &mut S, v| {
                s.connection().connect_timeout = time(v, "--connect-timeout")?;
                Ok(())
            },
        )
        .with_value_name("TIME"),
        value(
            "",
            "--wait",
            "duration",
            "If the broker is not up yet, retry for this time [default: 0]",
            |s: &mut S, v| {
                s.connection().wait_for_server = time(v, "--wait")?;
                Ok(())
            },
        )
        .with_value_name("TIME"),
        value(
            "",
            "--reconnect-max",
            "duration",
            "If the connection drops, give up if reconnecting takes longer than this time",
            |s: &mut S, v| {
                s.connection().reconnect_for = Some(time(v, "--reconnect-max")?);
                Ok(())
            },
        )
        .with_value_name("TIME"),
    ]
}

/// Returns the version of `-V`, with the names that the mosquitto tools accept.
fn version(value: &OsStr) -> Result<ProtocolVersion, Failure> {
    match value.to_str() {
        Some("5" | "mqttv5") => Ok(ProtocolVersion::V5_0),
        Some("311" | "mqttv311") => Ok(ProtocolVersion::V3_1_1),
        Some("31" | "mqttv31") => Ok(ProtocolVersion::V3_1),
        _ => Err(
            Failure::usage("Invalid protocol version argument given.").with_hint(format!(
                "The version must be 5, 311 or 31; it is '{}'.",
                shown(value)
            )),
        ),
    }
}

/// Returns the keep alive of `-k` in seconds. Like in the mosquitto tools, less than five seconds are an error.
fn keep_alive(value: &OsStr) -> Result<u16, Failure> {
    // Units are permitted, as for every time in these programs. A fraction of a second is cut off, because CONNECT has
    // whole seconds.
    let seconds = duration(value).map(|time| time.as_secs());
    seconds
        .and_then(|seconds| u16::try_from(seconds).ok())
        .filter(|seconds| *seconds >= 5)
        .ok_or_else(|| {
            Failure::usage("Invalid keepalive given, it must be between 5 and 65535 inclusive.")
                .with_hint(format!("The value of -k is '{}'.", shown(value)))
        })
}

/// Returns the Session Expiry Interval of `-x`. With the maximum, 0xFFFFFFFF, the session never expires.
fn session_expiry(value: &OsStr) -> Result<u32, Failure> {
    // The mosquitto tools accept this sign.
    if value == "∞" {
        return Ok(u32::MAX);
    }
    let invalid = |text| {
        Failure::usage(text).with_hint(format!(
            "The value of -x must be 0 to 4294967295 seconds, or -1 for a session that never expires; it is '{}'.",
            shown(value)
        ))
    };
    // An i128 parses every number that a user may write, so that the error says "out of range" and not "not a number".
    let seconds: i128 =
        number(value).ok_or_else(|| invalid("session-expiry-interval not a number."))?;
    match seconds {
        -1 => Ok(u32::MAX),
        seconds => {
            u32::try_from(seconds).map_err(|_| invalid("session-expiry-interval out of range."))
        }
    }
}

/// Returns the maximum of `-M`. A number above 65535 becomes 65535.
fn in_flight(value: &OsStr) -> Result<u16, Failure> {
    let count: Option<u32> = number(value).filter(|count| *count > 0);
    count
        // There are 65535 packet identifiers, so more messages cannot be in flight.
        .map(|count| u16::try_from(count).unwrap_or(u16::MAX))
        .ok_or_else(|| {
            Failure::usage("Maximum inflight messages must be greater than 0.")
                .with_hint(format!("The value of -M is '{}'.", shown(value)))
        })
}
