//! Lines and what they mean; files as they are found in practice are in `tests/tests/configuration.rs`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<Settings, String> {
    Settings::parse(Path::new("test.conf"), text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn listeners_and_limits_are_read() {
    let settings = parse(
        "# a comment\n\nlistener 1883\n  listener   0  127.0.0.1 \nallow_anonymous true\n\
         max_queued_messages 0\nmax_inflight_messages 7\nmax_packet_size 100\npersistence false\n\
         max_topic_alias 5\nmax_topic_alias_broker 0\nmax_qos 1\nmax_connections -1",
    )
    .unwrap();
    let expected = ListenerSettings {
        port: 1883,
        ..ListenerSettings::default()
    };
    assert_eq!(settings.listeners[0], expected);
    let second = &settings.listeners[1];
    assert_eq!(second.address(), Some(IpAddr::from([127, 0, 0, 1])));
    let of_second = settings.limits_of(Some(second));
    assert_eq!(of_second.topic_alias_maximum, Some(5));
    assert_eq!(of_second.topic_aliases, Some(0));
    assert_eq!(of_second.maximum_qos, Some(QoS::AtLeastOnce));
    assert_eq!(settings.security.allow_anonymous, Some(true));
    let limits = Limits {
        maximum_packet_size: 100,
        receive_maximum: 7,
        maximum_in_flight: 7,
        maximum_queued: usize::MAX,
        ..Limits::default()
    };
    assert_eq!(settings.limits, limits);
    assert_eq!(settings.store(), None);
    let settings = parse("persistence true\npersistence_location /var/lib/rbroker/").unwrap();
    let store = settings.store();
    assert_eq!(
        store.as_deref(),
        Some(Path::new("/var/lib/rbroker/rbroker.db"))
    );
}

#[test]
fn lines_about_security_are_for_all_or_for_the_listener_above() {
    let lines = "listener 1\nallow_anonymous true\npassword_file a b\nlistener 2\nacl_file c";
    let settings = parse(lines).unwrap();
    for listener in &settings.listeners {
        let security = settings.security_of(Some(listener));
        assert_eq!(security.password_file.as_deref(), Some(Path::new("a b")));
        assert_eq!(security.acl_file.as_deref(), Some(Path::new("c")));
    }
    let settings = parse(&format!("per_listener_settings true\n{lines}")).unwrap();
    let [first, second] = &settings.listeners[..] else {
        panic!()
    };
    let (first, second) = (
        settings.security_of(Some(first)),
        settings.security_of(Some(second)),
    );
    assert_eq!(first.allow_anonymous, Some(true));
    assert_eq!((first.acl_file, second.allow_anonymous), (None, None));
    assert_eq!(second.acl_file.as_deref(), Some(Path::new("c")));
    assert!(parse("allow_anonymous true\nper_listener_settings true").is_err());
    // What stands above the first listener opens the one of `port`, and no other.
    let lines = "per_listener_settings true\nallow_anonymous true\nport 1\nlistener 2";
    let settings = parse(lines).unwrap();
    let open = settings.listeners.iter();
    let open: Vec<_> = open
        .map(|listener| settings.security_of(Some(listener)).allow_anonymous)
        .collect();
    assert_eq!(open, [Some(true), None]);
}

#[test]
fn a_port_without_a_listener_line_is_one() {
    let settings = parse("port 1884\nlistener 1885\nbind_address 127.0.0.1").unwrap();
    let places = settings
        .listeners
        .iter()
        .map(|listener| (listener.port, listener.host.as_deref()));
    let places: Vec<_> = places.collect();
    assert_eq!(places, [(1884, Some("127.0.0.1")), (1885, None)]);
    let settings = parse("bind_address ::1").unwrap();
    assert_eq!(settings.listeners[0].port, 1883);
}

#[test]
fn switching_one_name_of_a_certificate_off_leaves_the_other_on() {
    let (identity, subject) = ("use_identity_as_username", "use_subject_as_username");
    for (lines, expected) in [
        (
            format!("{identity} true\n{subject} false"),
            Some(IdentitySource::CommonName),
        ),
        (
            format!("{subject} true\n{identity} false"),
            Some(IdentitySource::Subject),
        ),
        (
            format!("{subject} true\n{identity} true"),
            Some(IdentitySource::CommonName),
        ),
        (
            format!("{identity} true\n{subject} true"),
            Some(IdentitySource::CommonName),
        ),
        (format!("{identity} true\n{identity} false"), None),
    ] {
        let tls = "cafile a\ncertfile c\nkeyfile k";
        let settings = parse(&format!("listener 1\n{tls}\n{lines}")).unwrap();
        assert_eq!(settings.listeners[0].identity, expected, "{lines}");
    }
}

#[test]
fn times_and_policies_are_read() {
    let settings =
        parse("persistent_client_expiration 2w\nsync interval 0.5s\nsys_interval 0").unwrap();
    let weeks = Duration::from_secs(14 * 86_400);
    assert_eq!(settings.limits.longest_session, Some(weeks));
    assert_eq!(
        settings.sync,
        SyncPolicy::Interval(Duration::from_millis(500))
    );
    assert_eq!(settings.limits.sys_interval, Duration::ZERO);
    let store_limit = |line: &str| parse(line).unwrap().limits.maximum_store_bytes;
    assert_eq!(store_limit("max_store_bytes 100000000000"), 100_000_000_000);
    assert_eq!(store_limit("max_store_bytes 0"), u64::MAX);
    let memory_limit = |line: &str| parse(line).unwrap().limits.maximum_memory;
    assert_eq!(memory_limit("memory_limit 1000"), Some(1000));
    assert_eq!(memory_limit("memory_limit 0"), None);
    parse("memory_limit x").unwrap_err();
    for wrong in [
        "max_store_bytes 1000",
        "sync often",
        "sync interval 0",
        "persistent_client_expiration 2",
        "sync interval",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn wrong_lines_are_told_with_what_is_wrong() {
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
            "'connection' is not supported by this broker: it accepts bridges and makes none.",
        ),
        (
            "plugin p.so",
            "'plugin' is not supported by this broker: it has no plugins;",
        ),
        (
            "max_packet_size 19",
            "Invalid 'max_packet_size' value (19): expected 20 to 268435460.",
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
