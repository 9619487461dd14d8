//! Extended authentication in the client.

use mqtt_codec::ReasonCode;

use super::bytes::*;
use super::client::{Client, options};

/// Creates a client that requests the authentication method `M`. Its CONNECT was taken from the output.
fn asking() -> Client {
    let mut options = options(5);
    options.connect.properties.authentication_method = Some("M".into());
    options.connect.properties.authentication_data = Some("one".into());
    let mut client = Client::new(options);
    client.take();
    client
}

fn accepted() -> Vec<u8> {
    connack_with(5, false, 0, &text_property(0x15, "M"))
}

#[test]
fn client_answers_each_auth_and_sends_nothing_else_before_connack() {
    let mut client = asking();
    client.receive(auth(0x18, "M", "two"));
    let event = client.events.last().cloned();
    client.proves("5.0:MQTT-4.12.0-3", event, Some("auth 0x18 two".to_owned()));
    let too_early = client.publish("a", "x", 0).is_err() && client.subscribe(&["a"]).is_err();
    client.proves("5.0:MQTT-3.1.2-30", too_early, true);
    client
        .authenticate(ReasonCode::ContinueAuthentication, "three")
        .unwrap();
    client.shows(
        "5.0:MQTT-4.12.0-3 5.0:MQTT-4.12.0-5 5.0:MQTT-3.1.2-30 5.0:MQTT-3.15.2-1 5.0:MQTT-3.15.1-1",
        &[auth(0x18, "M", "three")],
    );
    client.receive(accepted());
    client.publish("a", "x", 0).unwrap();
    client.shows("5.0:MQTT-4.12.0-5", &[publish(5, "a", "x")]);
}

#[test]
fn re_authentication_uses_the_same_method() {
    let mut client = asking();
    client.receive(accepted());
    client
        .authenticate(ReasonCode::ReAuthenticate, "again")
        .unwrap();
    client.shows(
        "5.0:MQTT-4.12.1-1 5.0:MQTT-4.12.0-5 5.0:MQTT-3.15.2-1",
        &[auth(0x19, "M", "again")],
    );
    // Other packets are handled during the authentication.
    client.receive(publish(5, "a", "x").qos(1, 1));
    client.shows("", &[ack(PUBACK, 1)]);
    client.receive(auth(0x18, "M", "more"));
    client
        .authenticate(ReasonCode::ContinueAuthentication, "and")
        .unwrap();
    client.shows(
        "5.0:MQTT-4.12.1-1 5.0:MQTT-4.12.0-3",
        &[auth(0x18, "M", "and")],
    );
    client.receive(auth(0x00, "M", "done"));
    let event = client.events.last().cloned();
    client.proves(
        "5.0:MQTT-4.12.1-1",
        event,
        Some("auth 0x00 done".to_owned()),
    );
}

#[test]
fn failed_re_authentication_ends_the_connection() {
    let mut client = asking();
    client.receive(accepted());
    client
        .authenticate(ReasonCode::ReAuthenticate, "again")
        .unwrap();
    client.take();
    client.receive(disconnect_code(0x87));
    client.shows_closed("5.0:MQTT-4.12.1-2", &[]);
    // The client reports that its own authentication has failed.
    let mut client = asking();
    client.receive(accepted());
    client
        .authenticate(ReasonCode::ReAuthenticate, "again")
        .unwrap();
    client.take();
    client.disconnect_with(ReasonCode::UnspecifiedError);
    client.shows_closed("5.0:MQTT-4.12.1-2", &disconnect_code(0x80));
}

#[test]
fn client_without_an_authentication_method_neither_sends_nor_accepts_auth() {
    let mut client = Client::connected(options(5));
    let refused = client
        .authenticate(ReasonCode::ReAuthenticate, "x")
        .is_err();
    client.proves("5.0:MQTT-4.12.0-7", refused, true);
    client.receive(auth(0x18, "M", ""));
    client.shows_closed("5.0:MQTT-4.12.0-7 5.0:U5-13", &disconnect_code(0x82));
    let mut client = Client::new(options(5));
    client.take();
    client.receive(auth(0x18, "M", ""));
    client.shows_closed("5.0:U5-13", &[]);
}

#[test]
fn client_rejects_another_method_and_an_unexpected_auth() {
    let mut client = asking();
    client.receive(auth(0x18, "other", ""));
    client.shows_closed("5.0:U5-12 5.0:MQTT-4.12.0-5", &[]);
    for property in [vec![], text_property(0x15, "other")] {
        let mut client = asking();
        client.receive(connack_with(5, false, 0, &property));
        client.shows_closed("5.0:MQTT-4.12.0-5", &[]);
    }
    for (code, statements) in [(0x00, ""), (0x19, "5.0:MQTT-3.15.2-1 5.0:U5-21")] {
        let mut client = asking();
        client.receive(accepted());
        client.receive(auth(code, "M", "")); // no authentication is in progress
        client.shows_closed(statements, &disconnect_code(0x82));
    }
    for bytes in [vec![0xF0, 0], packet(0xF0, &[0x18, 0])] {
        let mut client = asking();
        client.receive(accepted());
        client.receive(bytes);
        client.shows_closed("5.0:U5-12", &disconnect_code(0x82));
    }
}
