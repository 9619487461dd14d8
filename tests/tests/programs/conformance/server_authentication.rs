//! The server's end of a connection without the broker: extended authentication, and reason strings and user
//! properties, which the broker does not use.

use std::time::Instant;

use mqtt_codec::{
    Ack, AckProperties, Auth, AuthProperties, ConnackProperties, Disconnect, DisconnectProperties,
    Message, MessageProperties, PacketIdentifier, Property, QoS, ReasonCode, Suback, TopicName,
    UserProperty,
};
use mqtt_session::{Config, Connection, Event, OutboundMessage};

use super::bytes::*;
use super::record::{End, hex, proves};

/// The server's end of one connection of 5.0.
struct Machine {
    connection: Connection,
    now: Instant,
    events: Vec<String>,
}

impl Machine {
    /// Creates a connection that has received CONNECT.
    fn new(connect: Connect) -> Self {
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
    fn accepted(connect: Connect) -> Self {
        let mut machine = Self::new(connect);
        machine.accept(ConnackProperties::default());
        machine.take();
        machine
    }

    fn accept(&mut self, properties: ConnackProperties) {
        self.connection.accept(self.now, None, properties);
    }

    fn receive(&mut self, bytes: impl Into<Vec<u8>>) {
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

    fn authenticate(&mut self, code: ReasonCode, data: &str, explained: bool) -> bool {
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

    fn take(&mut self) -> Vec<u8> {
        let bytes = self.connection.output().to_vec();
        self.connection.consume_output(self.now, bytes.len());
        bytes
    }

    #[track_caller]
    fn shows(&mut self, statements: &str, expected: &[Vec<u8>]) {
        let actual = hex(&self.take());
        proves(End::Server, 5, statements, actual, hex(&expected.concat()));
    }
}

fn with_method(client_identifier: &str) -> Connect {
    connect(5, client_identifier).property(&text_property(0x15, "M"))
}

fn pair() -> UserProperty {
    UserProperty {
        name: "n".into(),
        value: "v".into(),
    }
}

fn explained() -> AckProperties {
    AckProperties {
        reason_string: Some("why".into()),
        user_properties: vec![pair()],
    }
}

/// Returns the same properties as bytes.
fn explanation() -> Vec<u8> {
    [text_property(0x1F, "why"), user_property("n", "v")].concat()
}

fn identifier(value: u16) -> PacketIdentifier {
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

/// Sends every packet of a server that can have a reason string and user properties.
fn explain_everything(machine: &mut Machine) {
    let now = machine.now;
    machine.receive(publish(5, "a", "1").qos(1, 1));
    machine.receive(publish(5, "a", "2").qos(2, 2));
    for (number, reason_code) in [
        (1, ReasonCode::QuotaExceeded),
        (2, ReasonCode::QuotaExceeded),
    ] {
        let properties = explained();
        let ack = Ack {
            packet_identifier: identifier(number),
            reason_code,
            properties,
        };
        machine.connection.acknowledge_with(now, ack);
    }
    let mut suback = Suback::new(identifier(3), vec![ReasonCode::GrantedQoS1]);
    suback.properties = explained();
    machine.connection.suback(now, suback);
    let mut unsuback = Suback::new(identifier(4), vec![ReasonCode::Success]);
    unsuback.properties = explained();
    machine.connection.unsuback(now, unsuback);
    machine.receive(auth(0x19, "M", ""));
    machine.authenticate(ReasonCode::ContinueAuthentication, "", true);
}

/// Returns the same packets as bytes, with these properties.
fn everything(explanation: &[u8]) -> Vec<Vec<u8>> {
    let head = [text_property(0x15, "M"), text_property(0x16, "")].concat();
    let auth = [head, explanation.to_vec()].concat();
    let short = explanation.is_empty();
    let answer = |first, number| {
        if short {
            ack_code(first, number, 0x97)
        } else {
            ack_with(first, number, 0x97, explanation)
        }
    };
    let unsuback = [&[0, 4][..], &properties(5, explanation), &[0]].concat();
    vec![
        answer(PUBACK, 1),
        answer(PUBREC, 2),
        suback_with(5, 3, explanation, &[1]),
        packet(0xB0, &unsuback),
        packet(0xF0, &[vec![0x18], properties(5, &auth)].concat()),
    ]
}

fn explaining_disconnect() -> Disconnect {
    Disconnect {
        reason_code: ReasonCode::ServerBusy,
        properties: DisconnectProperties {
            reason_string: Some("why".into()),
            user_properties: vec![pair()],
            ..DisconnectProperties::default()
        },
    }
}

fn explaining_connack() -> ConnackProperties {
    ConnackProperties {
        reason_string: Some("why".into()),
        user_properties: vec![pair()],
        ..ConnackProperties::default()
    }
}

#[test]
fn reason_strings_and_user_properties_are_sent_if_they_fit() {
    let mut machine = Machine::accepted(with_method("c"));
    explain_everything(&mut machine);
    machine.shows("", &everything(&explanation()));
    machine
        .connection
        .disconnect(machine.now, explaining_disconnect());
    machine.shows("", &[disconnect_with(0x89, &explanation())]);
}

#[test]
fn reason_strings_and_user_properties_are_omitted_if_they_do_not_fit() {
    let small = |connect: Connect| connect.property(&four(0x27, 16));
    let mut machine = Machine::accepted(small(with_method("c")));
    explain_everything(&mut machine);
    machine.shows(
        "5.0:MQTT-3.4.2-2 5.0:MQTT-3.4.2-3 5.0:MQTT-3.5.2-2 5.0:MQTT-3.5.2-3 5.0:MQTT-3.9.2-1 \
         5.0:MQTT-3.9.2-2 5.0:MQTT-3.11.2-1 5.0:MQTT-3.11.2-2 5.0:MQTT-3.15.2-2 5.0:MQTT-3.15.2-3",
        &everything(&[]),
    );
    machine
        .connection
        .disconnect(machine.now, explaining_disconnect());
    machine.shows(
        "5.0:MQTT-3.14.2-3 5.0:MQTT-3.14.2-4",
        &[disconnect_code(0x89)],
    );
    let mut machine = Machine::new(small(connect(5, "c")));
    machine.accept(explaining_connack());
    machine.shows(
        "5.0:MQTT-3.2.2-19 5.0:MQTT-3.2.2-20",
        &[connack(5, false, 0)],
    );
}

#[test]
fn request_problem_information_0_limits_reason_strings_to_three_packets() {
    let unwanted = |connect: Connect| connect.property(&[0x17, 0]);
    let mut machine = Machine::new(unwanted(with_method("c")));
    machine.accept(explaining_connack());
    let method = text_property(0x15, "M");
    let expected = [method, explanation()].concat();
    machine.shows("5.0:MQTT-3.1.2-29", &[connack_with(5, false, 0, &expected)]);
    explain_everything(&mut machine);
    machine.shows("5.0:MQTT-3.1.2-29", &everything(&[]));
    let pair = pair();
    let properties = MessageProperties::new([Property::User(&pair.name, &pair.value)]);
    let message = Message {
        properties: Some(Box::new(properties.unwrap())),
        ..Message::new(TopicName::new("a").unwrap(), "x")
    };
    let outgoing = OutboundMessage::new(std::sync::Arc::new(message), QoS::AtMostOnce);
    machine.connection.publish(machine.now, outgoing).unwrap();
    machine
        .connection
        .disconnect(machine.now, explaining_disconnect());
    machine.shows(
        "5.0:MQTT-3.1.2-29",
        &[
            publish(5, "a", "x")
                .property(&user_property("n", "v"))
                .into(),
            disconnect_with(0x89, &explanation()),
        ],
    );
}

/// Some of these packets never have a reason string or user properties in this library, and some are packets of a
/// client. All packets use the same encoder, which leaves out properties that do not fit.
#[test]
fn encoder_omits_properties_that_do_not_fit() {
    use mqtt_codec::{PacketRef, ProtocolVersion::V5_0};
    let ack = Ack {
        packet_identifier: identifier(1),
        reason_code: ReasonCode::PacketIdentifierNotFound,
        properties: explained(),
    };
    let refused = Ack {
        reason_code: ReasonCode::QuotaExceeded,
        ..ack.clone()
    };
    let auth_packet = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        properties: AuthProperties {
            authentication_method: Some("M".into()),
            reason_string: Some("why".into()),
            user_properties: vec![pair()],
            ..AuthProperties::default()
        },
    };
    let disconnect = Disconnect {
        reason_code: ReasonCode::UnspecifiedError,
        ..explaining_disconnect()
    };
    let auth_body = [vec![0x18], properties(5, &text_property(0x15, "M"))].concat();
    let table = [
        (
            "5.0:MQTT-3.6.2-2 5.0:MQTT-3.6.2-3",
            PacketRef::Pubrel(ack.clone()),
            ack_code(PUBREL, 1, 0x92),
        ),
        (
            "5.0:MQTT-3.7.2-2 5.0:MQTT-3.7.2-3",
            PacketRef::Pubcomp(ack),
            ack_code(PUBCOMP, 1, 0x92),
        ),
        (
            "5.0:MQTT-3.4.2-2 5.0:MQTT-3.4.2-3",
            PacketRef::Puback(refused.clone()),
            ack_code(PUBACK, 1, 0x97),
        ),
        (
            "5.0:MQTT-3.5.2-2 5.0:MQTT-3.5.2-3",
            PacketRef::Pubrec(refused),
            ack_code(PUBREC, 1, 0x97),
        ),
        (
            "5.0:MQTT-3.14.2-3 5.0:MQTT-3.14.2-4",
            PacketRef::Disconnect(Box::new(disconnect)),
            disconnect_code(0x80),
        ),
        (
            "5.0:MQTT-3.15.2-2 5.0:MQTT-3.15.2-3",
            PacketRef::Auth(Box::new(auth_packet)),
            packet(0xF0, &auth_body),
        ),
    ];
    for (statements, packet, expected) in table {
        let full = packet.encoded_length(V5_0).unwrap() as u32;
        let mut bytes = Vec::new();
        packet.encode(V5_0, full - 1, &mut bytes).unwrap();
        for end in [End::Client, End::Server] {
            proves(end, 5, statements, hex(&bytes), hex(&expected));
        }
    }
}
