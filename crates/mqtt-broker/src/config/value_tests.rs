//! Tests of the syntax of lines, and of the values that mosquitto and rbroker read in the same way.

use std::path::Path;

use super::tests::parse;
use super::*;

#[test]
fn invalid_lines_are_reported_with_the_reason() {
    let table = [
        (
            "allow_anonymous maybe",
            "Invalid 'allow_anonymous' value (maybe): expected true, false, 1 or 0.",
        ),
        (
            "listener 65536",
            "Invalid 'listener' value (65536): expected 0 to 65535.",
        ),
        ("listener", "Empty 'listener' value in configuration."),
        ("lisener 1883", "Unknown configuration variable 'lisener'."),
        (
            "connection other",
            "'connection' is not supported by this broker: it accepts bridges but does not create them.",
        ),
        (
            "auth_opt_backends files",
            "'auth_opt_backends' is not supported by this broker: it has no plugins.",
        ),
        (
            "plugin p.so",
            "'plugin' is not supported by this broker: it has no plugins.",
        ),
        (
            "max_packet_size 19",
            "Invalid 'max_packet_size' value (19): expected 20 to 4294967295.",
        ),
        (
            "certfile c",
            "A listener with TLS needs both 'certfile' and 'keyfile'.",
        ),
        (
            "listener 1\ncertfile c",
            "A listener with TLS needs both 'certfile' and 'keyfile'.",
        ),
    ];
    for (lines, expected) in table {
        let error = parse(lines).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
        let count = lines.lines().count();
        assert!(
            error.ends_with(&format!(" Error found at test.conf:{count}.")),
            "{error}"
        );
    }
}

pub(super) fn parse_bytes(bytes: &[u8]) -> Result<BrokerConfig, String> {
    BrokerConfig::parse(Path::new("test.conf"), bytes).map_err(|error| error.to_string())
}

#[test]
fn comments_follow_values_and_may_have_any_bytes() {
    let config = parse("listener 1883 # all\nlistener 1884 ::1 # local\nallow_anonymous true # a");
    let listeners = config.unwrap().listeners;
    let hosts: Vec<_> = listeners
        .iter()
        .map(|listener| listener.host.as_deref())
        .collect();
    assert_eq!(hosts, [None, Some("::1")]);
    for text in [
        &b"# f\xFCr\nlistener 1883"[..],
        b"  # f\xFCr\nlistener 1883",
        b"listener 1883 # f\xFCr",
        b"\xEF\xBB\xBFlistener 1883\r\n",
        b"listener\t1883",
    ] {
        assert_eq!(
            parse_bytes(text).unwrap().listeners[0].port,
            1883,
            "{text:?}"
        );
    }
    let error = parse_bytes(b"listener 1883\npassword_file /f\xFCr").unwrap_err();
    assert_eq!(
        error,
        "The line is not valid UTF-8 (byte 0xFC): save the file in UTF-8. Error found at test.conf:2."
    );
}

#[test]
fn values_are_read_as_mosquitto_reads_them() {
    let config = parse(
        "allow_anonymous 1\npersistence 0\nmax_queued_messages -1\nmax_queued_bytes -1\n\
         max_inflight_messages -1\nmax_inflight_bytes -5\nwebsockets_headers_size 65535\n\
         accept_protocol_versions 3,4,,5,",
    )
    .unwrap();
    assert_eq!(config.security.allow_anonymous, Some(true));
    assert!(!config.persistence);
    let limits = &config.limits;
    assert_eq!(limits.maximum_queued, usize::MAX);
    assert_eq!(limits.maximum_queued_bytes, usize::MAX);
    assert_eq!(limits.maximum_in_flight_bytes, usize::MAX);
    assert_eq!(limits.maximum_in_flight, u16::MAX);
    let versions = config.listener_limits.versions.unwrap();
    assert_eq!(versions.len(), 3);
    let config = parse("listener 1 *\nmax_packet_size 1000000000\nauto_id_prefix a b").unwrap();
    assert_eq!(config.listeners[0].host, None);
    assert_eq!(
        config.limits.maximum_packet_size,
        mqtt_codec::MAXIMUM_PACKET_SIZE
    );
    assert_eq!(config.security.auto_id_prefix.as_deref(), Some("a b"));
    for wrong in [
        "accept_protocol_versions ,",
        "allow_anonymous 2",
        "sys_interval -1",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn port_0_is_a_unix_socket_unless_an_address_follows() {
    for (line, path) in [
        ("listener 0 x.sock", Some("x.sock")),
        ("listener 0 /run/x", Some("/run/x")),
        ("listener 0 127.0.0.1", None),
        ("listener 0 ::1", None),
        ("listener 0 localhost", None),
        ("listener 0", None),
        ("listener 1883 /run/x", None),
    ] {
        let config = parse(line).unwrap();
        assert_eq!(
            config.listeners[0].unix_path(),
            path.map(Path::new),
            "{line}"
        );
    }
}
