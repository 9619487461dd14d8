//! Reason strings and user properties of a server, without the broker, which does not use them.

use mqtt_codec::{
    Ack, Auth, AuthProperties, ConnackProperties, Disconnect, DisconnectProperties, Message,
    MessageProperties, Property, QoS, ReasonCode, Suback, TopicName,
};
use mqtt_session::OutboundMessage;

use super::bytes::*;
use super::record::{End, hex, proves};

use super::server_authentication::{Machine, explained, identifier, pair, with_method};

/// Returns the same properties as bytes.
fn explanation() -> Vec<u8> {
    [text_property(0x1F, "why"), user_property("n", "v")].concat()
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
