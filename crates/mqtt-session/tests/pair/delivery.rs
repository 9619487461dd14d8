//! Tests of the delivery of messages, their acknowledgements, and lost connections.

use mqtt_codec::*;
use mqtt_session::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

use crate::ends::{Pair, outbound};

#[test]
fn messages_of_each_qos_are_delivered_in_both_directions_in_each_version() {
    for version in [V3_1, V3_1_1, V5_0] {
        let mut pair = Pair::new(version);
        pair.settle();
        for (payload, qos) in [
            ("0", QoS::AtMostOnce),
            ("1", QoS::AtLeastOnce),
            ("2", QoS::ExactlyOnce),
        ] {
            pair.publish(payload, qos).unwrap();
            pair.server
                .connection
                .publish(pair.now, outbound(payload, qos))
                .unwrap();
        }
        pair.settle();
        for end in [&pair.client, &pair.server] {
            assert_eq!(end.messages, [b"0", b"1", b"2"], "{version}");
            assert_eq!(
                end.delivered,
                [(1, ReasonCode::Success), (2, ReasonCode::Success)]
            );
            assert_eq!(
                (
                    end.connection.unfinished_sent(),
                    end.connection.unfinished_received()
                ),
                (0, 0)
            );
        }
    }
}

/// The exchange has the four packets of MQTT 5.0, figure 4.3.
#[test]
fn delivery_of_qos_2_takes_four_packets() {
    let mut pair = Pair::new(V3_1_1);
    pair.settle();
    pair.publish("x", QoS::ExactlyOnce).unwrap();
    let publish = pair.client.take_output(usize::MAX);
    assert_eq!(publish, [0x34, 6, 0, 1, b't', 0, 1, b'x']);
    pair.server.handle(pair.now, &publish);
    let pubrec = pair.server.take_output(usize::MAX);
    assert_eq!(pubrec, [0x50, 2, 0, 1]);
    pair.client.handle(pair.now, &pubrec);
    let pubrel = pair.client.take_output(usize::MAX);
    assert_eq!(pubrel, [0x62, 2, 0, 1]);
    pair.server.handle(pair.now, &pubrel);
    assert_eq!(pair.server.take_output(usize::MAX), [0x70, 2, 0, 1]);
}

/// Each run cuts the link twice. The runs try all pairs of byte counts below 60 [MQTT-4.3.3-10, MQTT-4.4.0-1].
#[test]
fn two_lost_connections_cause_neither_loss_nor_duplicates() {
    for version in [V3_1_1, V5_0] {
        for from_server in [false, true] {
            let mut runs = 0;
            for first in 0..60 {
                for second in 0..60 {
                    let mut pair = Pair::new(version);
                    pair.settle();
                    for (payload, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)] {
                        let end = if from_server {
                            &mut pair.server
                        } else {
                            &mut pair.client
                        };
                        end.connection
                            .publish(pair.now, outbound(payload, qos))
                            .unwrap();
                    }
                    for cut in [first, second] {
                        pair.run(&mut { cut });
                        pair.reconnect(true);
                    }
                    pair.settle();
                    let (sender, receiver) = if from_server {
                        (&pair.server, &pair.client)
                    } else {
                        (&pair.client, &pair.server)
                    };
                    let count =
                        |payload: &[u8]| receiver.messages.iter().filter(|m| *m == payload).count();
                    assert_eq!(count(b"2"), 1, "{version} {from_server} {first} {second}");
                    assert!(count(b"1") >= 1, "{version} {from_server} {first} {second}");
                    assert_eq!(sender.connection.unfinished_sent(), 0);
                    assert_eq!(receiver.connection.unfinished_received(), 0);
                    runs += 1;
                }
            }
            assert_eq!(runs, 3600);
        }
    }
}

#[test]
fn session_lost_by_the_server_returns_messages_that_it_did_not_accept() {
    let mut pair = Pair::new(V3_1_1);
    pair.settle();
    pair.publish("released", QoS::ExactlyOnce).unwrap();
    pair.run(&mut 19); // PUBLISH and PUBREC arrive; PUBREL does not.
    pair.publish("open", QoS::AtLeastOnce).unwrap();
    pair.reconnect(false);
    pair.settle();
    let payloads: Vec<_> = pair
        .client
        .unfinished
        .iter()
        .map(|o| &o.message.payload[..])
        .collect();
    assert_eq!(payloads, [b"open"]);
    assert_eq!(pair.client.connection.unfinished_sent(), 0);
}

/// An application may fail to acknowledge a message. The other messages must still be delivered, even after the packet
/// identifiers have wrapped around several times.
#[test]
fn message_without_acknowledgement_does_not_delay_later_ones() {
    let mut pair = Pair::new(V5_0);
    pair.settle();
    pair.client.auto_acknowledge = false;
    let stuck = pair
        .server
        .connection
        .publish(pair.now, outbound("stuck", QoS::AtLeastOnce))
        .unwrap();
    for _ in 0..150_000 {
        let identifier = pair
            .server
            .connection
            .publish(pair.now, outbound("x", QoS::AtLeastOnce))
            .unwrap();
        assert_ne!(identifier, stuck);
        pair.settle();
        let identifier = identifier.unwrap();
        pair.client
            .connection
            .acknowledge(pair.now, identifier, ReasonCode::Success);
        pair.settle();
    }
    assert_eq!(pair.server.connection.unfinished_sent(), 1);
    assert_eq!(pair.client.messages.len(), 150_001);
    pair.server
        .connection
        .publish(pair.now, outbound("last", QoS::AtLeastOnce))
        .unwrap();
    pair.reconnect(true);
    pair.client.auto_acknowledge = true;
    pair.settle();
    // The messages are resent in the order in which they were first sent [MQTT-4.6.0-1].
    assert_eq!(pair.client.messages[150_001..], [&b"stuck"[..], b"last"]);
    assert_eq!(pair.server.connection.unfinished_sent(), 0);
}

/// The Receive Maximum of the peer must not be exceeded [MQTT-3.3.4-9, MQTT-4.9.0-2].
#[test]
fn receive_maximum_and_own_limit_bound_messages_in_flight() {
    let mut connect = Connect {
        clean_start: false,
        ..Connect::new(V5_0, "c")
    };
    connect.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let mut pair = Pair::with(
        connect,
        Config {
            maximum_in_flight: 3,
            ..Config::default()
        },
    );
    pair.settle();
    pair.client.auto_acknowledge = false;
    let mut publish = || {
        pair.server
            .connection
            .publish(pair.now, outbound("x", QoS::AtLeastOnce))
    };
    assert!(publish().is_ok() && publish().is_ok());
    assert_eq!(publish(), Err(PublishError::QuotaUsedUp));
    pair.settle();
    pair.client
        .connection
        .acknowledge(pair.now, PacketIdentifier::FIRST, ReasonCode::Success);
    pair.settle();
    let mut publish = || {
        pair.server
            .connection
            .publish(pair.now, outbound("x", QoS::ExactlyOnce))
    };
    assert!(publish().is_ok());
    assert_eq!(publish(), Err(PublishError::QuotaUsedUp));
    for _ in 0..3 {
        pair.publish("y", QoS::AtLeastOnce).unwrap();
    }
    assert_eq!(
        pair.publish("y", QoS::AtLeastOnce),
        Err(PublishError::QuotaUsedUp)
    );
    assert_eq!(
        pair.publish("y", QoS::AtMostOnce),
        Ok(None),
        "QoS 0 has no window"
    );
}

#[test]
fn messages_are_not_acknowledged_before_the_application_does() {
    let mut pair = Pair::new(V5_0);
    pair.settle();
    pair.server.auto_acknowledge = false;
    pair.publish("1", QoS::AtLeastOnce).unwrap();
    pair.publish("2", QoS::ExactlyOnce).unwrap();
    pair.settle();
    assert_eq!(pair.server.messages.len(), 2);
    assert_eq!(pair.client.delivered, []);
    let second = PacketIdentifier::new(2).unwrap();
    pair.server
        .connection
        .acknowledge(pair.now, PacketIdentifier::FIRST, ReasonCode::Success);
    pair.server
        .connection
        .acknowledge(pair.now, second, ReasonCode::QuotaExceeded);
    pair.settle();
    let expected = [(1, ReasonCode::Success), (2, ReasonCode::QuotaExceeded)];
    assert_eq!(pair.client.delivered, expected);
    assert_eq!(pair.client.connection.unfinished_sent(), 0);
}

/// Rule 2 of the crate documentation: the application accepts the message after the socket was closed.
#[test]
fn acknowledging_after_the_connection_holds_the_identifier() {
    let mut pair = Pair::new(V3_1_1);
    pair.settle();
    pair.server.auto_acknowledge = false;
    pair.publish("2", QoS::ExactlyOnce).unwrap();
    pair.settle();
    pair.server.connection.handle_close();
    pair.server
        .connection
        .acknowledge(pair.now, PacketIdentifier::FIRST, ReasonCode::Success);
    assert!(pair.server.connection.output().is_empty());
    pair.server.auto_acknowledge = true;
    pair.reconnect(true);
    pair.settle();
    assert_eq!(pair.server.messages, [b"2"]);
    assert_eq!(pair.client.delivered, [(1, ReasonCode::Success)]);
}

/// A server must not send a packet above the Maximum Packet Size of the client [MQTT-3.1.2-24, MQTT-3.1.2-25].
#[test]
fn sends_no_packet_above_the_limit_of_the_peer() {
    let mut connect = Connect {
        clean_start: false,
        ..Connect::new(V5_0, "c")
    };
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(20);
    let mut pair = Pair::with(connect, Config::default());
    pair.settle();
    let large = outbound("0123456789abcdef", QoS::AtLeastOnce);
    let result = pair.server.connection.publish(pair.now, large);
    assert_eq!(
        result,
        Err(PublishError::Encode(EncodeError::PacketTooLarge(24)))
    );
    assert!(pair.server.connection.output().is_empty());
    assert_eq!(
        pair.server.connection.unfinished_sent(),
        0,
        "no place in the window is lost"
    );
}
