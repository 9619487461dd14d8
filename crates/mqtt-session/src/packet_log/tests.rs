//! Tests of the log lines, against those of mosquitto.

use mqtt_codec::*;

use super::*;

fn line(role: Role, direction: Direction, name: &str, packet: &PacketRef<'_>) -> String {
    let version = ProtocolVersion::V5_0;
    Line(Observed {
        role,
        direction,
        client_identifier: name,
        version,
        packet,
    })
    .to_string()
}

#[test]
fn packet_lines_match_mosquitto() {
    use Direction::*;
    use Role::*;
    let one = PacketIdentifier::FIRST;
    let ack = || Ack::new(one, ReasonCode::Success);
    let message = Message::new(TopicName::new("m1").unwrap(), "x");
    let delivery = Delivery::ExactlyOnce {
        packet_identifier: one,
        dup: false,
    };
    let publish = PacketRef::Publish(message.publish(delivery));
    let connect = PacketRef::Connect(Box::new(Connect::new(ProtocolVersion::V5_0, "")));
    let connack = PacketRef::Connack(Box::new(Connack {
        session_present: true,
        reason_code: ReasonCode::Success,
        properties: ConnackProperties::default(),
    }));
    let subscribe = PacketRef::Subscribe(Subscribe {
        packet_identifier: one,
        subscriptions: ["a", "b\n"]
            .map(|filter| Subscription {
                topic_filter: TopicFilter::new(filter).unwrap(),
                options: SubscriptionOptions {
                    retain_as_published: true,
                    ..SubscriptionOptions::new(QoS::ExactlyOnce)
                },
            })
            .into(),
        properties: SubscribeProperties::default(),
    });
    let end = PacketRef::Disconnect(Box::new(Disconnect::new(ReasonCode::ServerShuttingDown)));
    let table: &[(Role, Direction, &str, &PacketRef<'_>, &str)] = &[
        (
            Client,
            Sending,
            "",
            &connect,
            "Client (null) sending CONNECT",
        ),
        (
            Client,
            Received,
            "",
            &connack,
            "Client (null) received CONNACK (0)",
        ),
        (
            Client,
            Sending,
            "id",
            &publish,
            "Client id sending PUBLISH (d0, q2, r0, m1, 'm1', ... (1 bytes))",
        ),
        (
            Client,
            Received,
            "id",
            &PacketRef::Pubrec(ack()),
            "Client id received PUBREC (Mid: 1)",
        ),
        (
            Client,
            Sending,
            "id",
            &PacketRef::Pubrel(ack()),
            "Client id sending PUBREL (m1)",
        ),
        (
            Client,
            Received,
            "id",
            &PacketRef::Pubcomp(ack()),
            "Client id received PUBCOMP (Mid: 1, RC:0)",
        ),
        (
            Client,
            Sending,
            "id",
            &PacketRef::Puback(ack()),
            "Client id sending PUBACK (m1, rc0)",
        ),
        (
            Client,
            Sending,
            "id",
            &subscribe,
            "Client id sending SUBSCRIBE (Mid: 1, Topic: a, QoS: 2, Options: 0x08)\nClient id sending SUBSCRIBE (Mid: 1, Topic: b\\n, QoS: 2, Options: 0x08)\n",
        ),
        (Client, Received, "id", &end, "Received DISCONNECT (139)"),
        (
            Server,
            Sending,
            "id",
            &connack,
            "Sending CONNACK to id (1, 0)",
        ),
        (
            Server,
            Sending,
            "",
            &connack,
            "Sending CONNACK to <unknown> (1, 0)",
        ),
        (
            Server,
            Received,
            "id",
            &publish,
            "Received PUBLISH from id (d0, q2, r0, m1, 'm1', ... (1 bytes))",
        ),
        (
            Server,
            Sending,
            "id",
            &PacketRef::Pubrec(ack()),
            "Sending PUBREC to id (m1, rc0)",
        ),
        (
            Server,
            Received,
            "id",
            &PacketRef::Pubrel(ack()),
            "Received PUBREL from id (Mid: 1)",
        ),
        (
            Server,
            Sending,
            "id",
            &PacketRef::Pubcomp(ack()),
            "Sending PUBCOMP to id (m1)",
        ),
        (
            Server,
            Received,
            "id",
            &subscribe,
            "Received SUBSCRIBE from id\n\ta (QoS 2)\n\tb\\n (QoS 2)",
        ),
    ];
    for (role, direction, name, packet, expected) in table {
        assert_eq!(line(*role, *direction, name, packet), *expected);
    }
}
