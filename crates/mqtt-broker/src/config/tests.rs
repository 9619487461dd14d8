//! Tests of single directives and of their order. Whole files from practice are tested in
//! `tests/tests/programs/configuration.rs`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use mqtt_broker_core::{IdentitySource, Limits};
use mqtt_codec::QoS;

use super::*;
use crate::SyncPolicy;

pub(super) fn parse(text: &str) -> Result<BrokerConfig, String> {
    BrokerConfig::parse(Path::new("test.conf"), text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn listeners_and_limits_are_read() {
    let config = parse(
        "# a comment\n\nlistener 1883\n  listener   0  127.0.0.1 \nallow_anonymous true\n\
         max_queued_messages 0\nmax_inflight_messages 7\nmax_packet_size 100\npersistence false\n\
         max_topic_alias 5\nmax_topic_alias_broker 0\nmax_qos 1\nmax_connections -1",
    )
    .unwrap();
    let expected = ListenerConfig {
        port: 1883,
        ..ListenerConfig::default()
    };
    assert_eq!(config.listeners[0], expected);
    let second = &config.listeners[1];
    assert_eq!(second.address(), Some(IpAddr::from([127, 0, 0, 1])));
    let of_second = config.limits_of(Some(second));
    assert_eq!(of_second.topic_alias_maximum, Some(5));
    assert_eq!(of_second.topic_aliases, Some(0));
    assert_eq!(of_second.maximum_qos, Some(QoS::AtLeastOnce));
    assert_eq!(config.security.allow_anonymous, Some(true));
    let limits = Limits {
        maximum_packet_size: 100,
        receive_maximum: 7,
        maximum_in_flight: 7,
        maximum_queued: usize::MAX,
        ..Limits::default()
    };
    assert_eq!(config.limits, limits);
    assert_eq!(config.store(), None);
    let config = parse("persistence true\npersistence_location /var/lib/rbroker/").unwrap();
    let store = config.store();
    assert_eq!(
        store.as_deref(),
        Some(Path::new("/var/lib/rbroker/rbroker.db"))
    );
}

#[test]
fn security_directives_apply_to_all_listeners_or_to_the_one_above() {
    let lines = "listener 1\nallow_anonymous true\npassword_file a b\nlistener 2\nacl_file c";
    let config = parse(lines).unwrap();
    for listener in &config.listeners {
        let security = config.security_of(Some(listener));
        assert_eq!(security.password_file.as_deref(), Some(Path::new("a b")));
        assert_eq!(security.acl_file.as_deref(), Some(Path::new("c")));
    }
    let config = parse(&format!("per_listener_settings true\n{lines}")).unwrap();
    let [first, second] = &config.listeners[..] else {
        panic!()
    };
    let (first, second) = (
        config.security_of(Some(first)),
        config.security_of(Some(second)),
    );
    assert_eq!(first.allow_anonymous, Some(true));
    assert_eq!((first.acl_file, second.allow_anonymous), (None, None));
    assert_eq!(second.acl_file.as_deref(), Some(Path::new("c")));
    assert!(parse("allow_anonymous true\nper_listener_settings true").is_err());
    // The directives above the first listener belong to the default listener only.
    let lines = "per_listener_settings true\nallow_anonymous true\nport 1\nlistener 2";
    let config = parse(lines).unwrap();
    let open = config.listeners.iter();
    let open: Vec<_> = open
        .map(|listener| config.security_of(Some(listener)).allow_anonymous)
        .collect();
    assert_eq!(open, [Some(true), None]);
}

#[test]
fn port_directive_defines_the_default_listener() {
    let config = parse("port 1884\nlistener 1885\nbind_address 127.0.0.1").unwrap();
    let places = config
        .listeners
        .iter()
        .map(|listener| (listener.port, listener.host.as_deref()));
    let places: Vec<_> = places.collect();
    assert_eq!(places, [(1884, Some("127.0.0.1")), (1885, None)]);
    let config = parse("bind_address ::1").unwrap();
    assert_eq!(config.listeners[0].port, 1883);
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
        let config = parse(&format!("listener 1\n{tls}\n{lines}")).unwrap();
        assert_eq!(config.listeners[0].identity, expected, "{lines}");
    }
}

#[test]
fn times_and_policies_are_read() {
    let config =
        parse("persistent_client_expiration 2w\nsync interval 0.5s\nsys_interval 0").unwrap();
    let weeks = Duration::from_secs(14 * 86_400);
    assert_eq!(config.limits.longest_session, Some(weeks));
    assert_eq!(
        config.sync,
        SyncPolicy::Interval(Duration::from_millis(500))
    );
    assert_eq!(config.limits.sys_interval, Duration::ZERO);
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
fn lines_above_the_first_listener_belong_to_the_default_listener() {
    let tls = "certfile c\nkeyfile k\n";
    // The lines, and for each listener its port and `true` if it uses TLS.
    for (lines, expected) in [
        (format!("{tls}port 8883"), vec![(8883, true)]),
        (format!("port 8883\n{tls}"), vec![(8883, true)]),
        (
            format!("{tls}listener 1884"),
            vec![(1883, true), (1884, false)],
        ),
        (
            format!("listener 1884\nport 1885\n{tls}"),
            vec![(1885, true), (1884, false)],
        ),
        ("port 1\nport 2".to_owned(), vec![(2, false)]),
        (
            "tls_version tlsv1.2\nlistener 1884".to_owned(),
            vec![(1884, false)],
        ),
        (
            "protocol mqtt\nlistener 1884".to_owned(),
            vec![(1884, false)],
        ),
        ("max_connections 5".to_owned(), vec![(1883, false)]),
        (
            "max_connections 5\nlistener 1884".to_owned(),
            vec![(1884, false)],
        ),
        (
            "max_connections -1\nallow_anonymous true".to_owned(),
            vec![],
        ),
    ] {
        let config = parse(&lines).unwrap();
        let listeners = config.listeners.iter();
        let found: Vec<_> = listeners
            .map(|listener| (listener.port, listener.tls.is_some()))
            .collect();
        assert_eq!(found, expected, "{lines}");
    }
    let config = parse("max_connections 5\nport 1\nmax_connections 6\nlistener 2").unwrap();
    let limits = config.listeners.iter().map(|listener| {
        let limits = config.limits_of(Some(listener));
        limits.maximum_connections
    });
    assert_eq!(limits.collect::<Vec<_>>(), [Some(6), Some(5)]);
}

#[test]
fn store_file_has_its_own_name() {
    for (line, expected) in [
        ("", "rbroker.db"),
        ("persistence_file mosquitto.db", "rbroker.db"),
        ("persistence_file second.db", "second.db.rbroker"),
    ] {
        let config = parse(&format!("persistence true\npersistence_location d\n{line}"));
        let store = config.unwrap().store().unwrap();
        assert_eq!(store, Path::new("d").join(expected));
    }
}

#[test]
fn obsolete_directives_are_warnings() {
    let config = parse("sys_interval 5\nretry_interval 20\nstore_clean_interval 10").unwrap();
    let expected = [
        "The retry_interval option is no longer available. (test.conf:2)",
        "The store_clean_interval option is no longer available. (test.conf:3)",
    ];
    assert_eq!(config.warnings, expected);
}

#[test]
fn log_dest_none_discards_the_log_destinations_above() {
    let log = parse("log_dest stdout\nlog_dest none\nlog_type all\nlog_type none\nlog_type error");
    let log = log.unwrap().log;
    assert_eq!(log.destinations, [LogDestination::None]);
    let types = log.types.unwrap();
    assert!(types.error && !types.warning && !types.information && !types.debug);
    let log = parse("log_dest none\nlog_dest stdout").unwrap().log;
    assert!(log.destinations.contains(&LogDestination::StandardOutput));
}

#[test]
fn the_manual_lists_every_directive_with_a_valid_example() {
    let manual = include_str!("../../../../docs/rbroker.conf.md");
    let (read, rejected) = manual.split_once("\n## Rejected directives\n").unwrap();
    let examples = first_cells(read);
    for example in &examples {
        let parser = parser::Parser::default();
        parser
            .line(example, places::Place::default())
            .unwrap_or_else(|error| panic!("{example}: {error}"));
    }
    let name = |example: &&'static str| example.split(' ').next().unwrap();
    let listed = examples.iter().map(name).collect();
    let known = directives::table::all().map(|found| found.name).collect();
    assert_same_names("directives that are read", &listed, &known);
    let listed = first_cells(rejected).into_iter().collect();
    let known = unsupported::names().collect();
    assert_same_names("directives that are rejected", &listed, &known);
}

/// Returns the code in the first cell of each table row in a page of the documentation.
fn first_cells(page: &'static str) -> Vec<&'static str> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}

fn assert_same_names(what: &str, listed: &BTreeSet<&str>, known: &BTreeSet<&str>) {
    let missing: Vec<_> = known.difference(listed).collect();
    let unknown: Vec<_> = listed.difference(known).collect();
    let is_same = missing.is_empty() && unknown.is_empty();
    assert!(
        is_same,
        "docs/rbroker.conf.md, {what}: missing {missing:?}, unknown {unknown:?}"
    );
}
