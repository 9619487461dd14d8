//! Tests of options that depend on each other.

use super::transport::TlsChoice;
use super::url::TLS_PORT;
use super::*;

/// Returns the text of the error in the options. `connect` must find it before it opens a connection.
fn error_of(builder: ClientBuilder) -> String {
    match builder.connect() {
        Err(error @ ConnectError::InvalidOption { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn invalid_options_are_errors_that_name_the_expected_value() {
    let builder = || Client::builder().host("localhost", 1);
    let v3 = || builder().protocol_version(ProtocolVersion::V3_1_1);
    let hour = Duration::from_secs(3600);
    let will = Message::new(mqtt_codec::TopicName::new("a").unwrap(), "x");
    for (builder, expected) in [
        (Client::builder(), "no URL and no host"),
        (builder().keep_alive(Duration::from_millis(5)), "1 to 65535"),
        (builder().keep_alive(hour * 24), "1 to 65535"),
        (builder().session(SessionRetention::Forever), "identifier"),
        (v3().session(SessionRetention::For(hour)), "MQTT 5.0"),
        (builder().will_delay(hour), "no will"),
        (v3().will(will, QoS::AtMostOnce).will_delay(hour), "5.0"),
        (builder().host("b", TLS_PORT), "without_tls"),
        (builder().ca_file("/no/such/file"), "/no/such/file"),
    ] {
        let error = error_of(builder);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_scheme_or_a_port_means_tls() {
    let choice = |url| Client::builder().url(url).unwrap().transport.tls;
    for url in ["mqtts://h", "mqtt://h:8883", "wss://h"] {
        assert!(matches!(choice(url), TlsChoice::With(_)), "{url}");
    }
    for url in ["mqtt://h", "ws://h", "ws://h:8883"] {
        assert!(matches!(choice(url), TlsChoice::Default), "{url}");
    }
}

#[test]
fn credentials_are_not_shown() {
    let builder = Client::builder().url("mqtt://me:secret@h").unwrap();
    assert!(!format!("{builder:?}").contains("secret"));
}
