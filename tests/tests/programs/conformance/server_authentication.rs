//! The server's end of a connection without the broker, which has no method of extended authentication.

use std::time::Instant;

use mqtt_codec::{
    AckProperties, Auth, AuthProperties, ConnackProperties, Disconnect, PacketIdentifier,
    ReasonCode, UserProperty,
};
use mqtt_session::{Config, Connection, Event};

use super::bytes::*;
use super::record::{End, hex, proves};

/// The server's end of one connection of 5.0.
pub(super) struct Machine {
    pub(super) connection: Connection,
    pub(super) now: Instant,
    pub(super) events: Vec<String>,
}

impl Machine {
    /// Creates a connection that has received CONNECT.
    pub(super) fn new(connect: Connect) -> Self {
        let now = Instant::now();
        let connection = Connection::server(Config::default(), now);
        let mut machine = Self {
            connection,
            now,
            events: Vec::new(),
        };
        machine.receive(connect);
        machine
    }

    /// Creates a connection that was accepted.
    pub(super) fn accepted(connect: Connect) -> Self {
        let mut machine = Self::new(connect);
        machine.accept(ConnackProperties::default());
        machine.take();
        machine
    }

    pub(super) fn accept(&mut self, properties: ConnackProperties) {
        self.connection.accept(self.now, None, properties);
    }

    pub(super) fn receive(&mut self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let mut input = &bytes[..];
        while let Some(event) = self.connection.handle_input(self.now, &mut input) {
            self.events.push(match event {
                Event::Auth(auth) => format!("auth {:#04x}", auth.reason_code.value()),
                Event::Connect(_) => "connect".into(),
                Event::Closed(_) => "closed".into(),
                Event::Message(received) => {
                    format!(
                        "message {}",
                        String::from_utf8_lossy(received.publish().payload)
                    )
                }
                _ => "other".into(),
            });
        }
    }

    pub(super) fn authenticate(&mut self, code: ReasonCode, data: &str, explained: bool) -> bool {
        let mut properties = AuthProperties {
            authentication_data: Some(data.to_owned().into()),
            ..AuthProperties::default()
        };
        if explained {
            properties.reason_string = Some("why".into());
            properties.user_properties = vec![pair()];
        }
        let auth = Auth {
            reason_code: code,
            properties,
        };
        self.connection.authenticate(self.now, auth).is_ok()
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        let bytes = self.connection.output().to_vec();
        self.connection.consume_output(self.now, bytes.len());
        bytes
    }

    #[track_caller]
    pub(super) fn shows(&mut self, statements: &str, expected: &[Vec<u8>]) {
        let actual = hex(&self.take());
        proves(End::Server, 5, statements, actual, hex(&expected.concat()));
    }
}

pub(super) fn with_method(client_identifier: &str) -> Connect {
    connect(5, client_identifier).property(&text_property(0x15, "M"))
}

pub(super) fn pair() -> UserProperty {
    UserProperty {
        name: "n".into(),
        value: "v".into(),
    }
}

pub(super) fn explained() -> AckProperties {
    AckProperties {
        reason_string: Some("why".into()),
        user_properties: vec![pair()],
    }
}

pub(super) fn identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).unwrap()
}

#[test]
fn server_continues_authentication_and_accepts_with_the_same_method() {
    let mut machine = Machine::new(with_method("c"));
    assert!(machine.authenticate(ReasonCode::ContinueAuthentication, "two", false));
    machine.shows(
        "5.0:MQTT-4.12.0-2 5.0:MQTT-4.12.0-5 5.0:MQTT-3.15.2-1 5.0:MQTT-3.15.1-1",
        &[auth(0x18, "M", "two")],
    );
    machine.receive(auth(0x18, "M", "three"));
    let events = machine.events.clone();
    proves(
        End::Server,
        5,
        "5.0:MQTT-4.12.0-2",
        events,
        vec!["connect".into(), "auth 0x18".into()],
    );
    machine.accept(ConnackProperties::default());
    machine.shows(
        "5.0:MQTT-4.12.0-5",
        &[connack_with(5, false, 0, &text_property(0x15, "M"))],
    );
}

#[test]
fn server_may_reject_at_each_step_of_authentication() {
    let mut machine = Machine::new(with_method("c"));
    assert!(machine.authenticate(ReasonCode::ContinueAuthentication, "two", false));
    machine.take();
    machine.receive(auth(0x18, "M", "three"));
    let properties = ConnackProperties::default();
    machine
        .connection
        .refuse(machine.now, ReasonCode::NotAuthorized, properties);
    machine.shows(
        "5.0:MQTT-4.12.0-4 5.0:MQTT-3.2.2-7",
        &[connack(5, false, 0x87)],
    );
    assert!(machine.connection.has_ended());
}

#[test]
fn only_auth_and_disconnect_come_before_connack() {
    for bytes in [
        pingreq(),
        publish(5, "a", "x").into(),
        subscribe(5, 1, &[("a", 0)]),
    ] {
        let mut machine = Machine::new(with_method("c"));
        machine.authenticate(ReasonCode::ContinueAuthentication, "two", false);
        machine.take();
        machine.receive(bytes);
        machine.shows("5.0:MQTT-3.14.0-1", &[connack(5, false, 0x82)]); // no DISCONNECT follows
        assert!(machine.connection.has_ended());
    }
    for wrong in [auth(0x18, "other", ""), auth(0x19, "M", "")] {
        let mut machine = Machine::new(with_method("c"));
        machine.authenticate(ReasonCode::ContinueAuthentication, "two", false);
        machine.take();
        machine.receive(wrong);
        machine.shows("5.0:U5-12", &[connack(5, false, 0x82)]);
        assert!(machine.connection.has_ended());
    }
}

#[test]
fn server_sends_no_auth_to_a_client_without_an_authentication_method() {
    let mut machine = Machine::new(connect(5, "c"));
    let sent = machine.authenticate(ReasonCode::ContinueAuthentication, "two", false);
    proves(End::Server, 5, "5.0:MQTT-4.12.0-6", sent, false);
    machine.accept(ConnackProperties {
        authentication_method: Some("M".into()),
        ..ConnackProperties::default()
    });
    machine.shows("5.0:MQTT-4.12.0-6", &[connack(5, false, 0)]);
}

#[test]
fn re_authentication_succeeds_or_ends_the_connection() {
    let mut machine = Machine::accepted(with_method("c"));
    machine.receive(auth(0x19, "M", "again"));
    assert!(machine.authenticate(ReasonCode::ContinueAuthentication, "more", false));
    machine.receive(auth(0x18, "M", "and"));
    assert!(machine.authenticate(ReasonCode::Success, "done", false));
    let expected = [auth(0x18, "M", "more"), auth(0x00, "M", "done")];
    machine.shows(
        "5.0:MQTT-4.12.0-5 5.0:MQTT-3.15.2-1 5.0:MQTT-4.12.0-2",
        &expected,
    );
    machine.receive(auth(0x19, "M", "again"));
    let failed = Disconnect::new(ReasonCode::NotAuthorized);
    machine.connection.disconnect(machine.now, failed);
    machine.shows("5.0:MQTT-4.12.1-2", &[disconnect_code(0x87)]);
    assert!(machine.connection.has_ended());
    // Another method than in CONNECT is an error.
    let mut machine = Machine::accepted(with_method("c"));
    machine.receive(auth(0x19, "other", "again"));
    machine.shows("5.0:U5-12 5.0:MQTT-4.12.1-2", &[disconnect_code(0x82)]);
}

#[test]
fn packet_identifier_is_free_after_a_rejection() {
    let mut machine = Machine::accepted(connect(5, "c"));
    machine.receive(publish(5, "a", "1").qos(2, 7));
    machine
        .connection
        .acknowledge(machine.now, identifier(7), ReasonCode::QuotaExceeded);
    machine.receive(publish(5, "a", "2").qos(2, 7));
    machine.shows("5.0:MQTT-4.3.3-9", &[ack_code(PUBREC, 7, 0x97)]);
    let expected = ["connect", "message 1", "message 2"]
        .map(String::from)
        .to_vec();
    proves(
        End::Server,
        5,
        "5.0:MQTT-4.3.3-9",
        machine.events.clone(),
        expected,
    );
}
