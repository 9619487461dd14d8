//! Messages in the client: QoS, packet identifiers, order and windows.

use mqtt_codec::{ReasonCode, TopicName};
use mqtt_session::PublishError;

use super::bytes::*;
use super::client::{Client, options};

#[test]
fn client_sends_publish_with_the_handshake_of_its_qos() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        for qos in 0..=2 {
            client.publish("a", "x", qos).unwrap();
        }
        client.shows(
            "3.1.1:MQTT-2.3.1-1 3.1.1:MQTT-2.3.1-2 3.1.1:MQTT-2.3.1-5 3.1.1:MQTT-3.3.1-2 \
             3.1.1:MQTT-3.3.2-1 3.1.1:MQTT-4.3.1-1 3.1.1:MQTT-4.3.2-1 3.1.1:MQTT-4.3.3-1 \
             3.1.1:MQTT-2.2.2-1 5.0:MQTT-2.2.1-2 5.0:MQTT-2.2.1-3 5.0:MQTT-3.3.1-2 5.0:MQTT-3.3.1-3 \
             5.0:MQTT-3.3.2-1 5.0:MQTT-4.3.1-1 5.0:MQTT-4.3.2-1 5.0:MQTT-4.3.2-2 5.0:MQTT-4.3.3-1 \
             5.0:MQTT-4.3.3-2 5.0:MQTT-3.3.4-6 5.0:MQTT-2.2.2-1",
            &[
                publish(version, "a", "x"),
                publish(version, "a", "x").qos(1, 1),
                publish(version, "a", "x").qos(2, 2),
            ],
        );
        client.receive(ack(PUBREC, 2));
        client.shows(
            "3.1.1:MQTT-4.3.3-1 3.1.1:MQTT-2.3.1-6 3.1.1:MQTT-3.6.1-1 5.0:MQTT-4.3.3-4 \
             5.0:MQTT-2.2.1-5 5.0:MQTT-3.6.1-1 5.0:MQTT-3.6.2-1",
            &[ack(PUBREL, 2)],
        );
        client.receive([ack(PUBACK, 1), ack(PUBCOMP, 2)].concat());
        let expected = [
            "connected, 0 unfinished",
            "delivered 1 0x00",
            "delivered 2 0x00",
        ];
        client.proves(
            "3.1.1:MQTT-4.3.2-1 5.0:MQTT-4.3.2-3 5.0:MQTT-4.3.3-3 5.0:MQTT-4.3.3-5",
            client.events.clone(),
            expected.map(String::from).to_vec(),
        );
    }
}

#[test]
fn client_answers_each_publish_with_the_handshake_of_its_qos() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        client.receive(publish(version, "never/asked/for", "0"));
        client.receive(publish(version, "never/asked/for", "1").qos(1, 258));
        client.receive(publish(version, "never/asked/for", "2").qos(2, 259));
        client.receive(ack(PUBREL, 259));
        client.shows(
            "3.1.1:MQTT-3.3.4-1 3.1.1:MQTT-4.5.0-2 3.1.1:MQTT-2.3.1-6 3.1.1:MQTT-4.3.2-2 \
             3.1.1:MQTT-4.3.3-2 5.0:MQTT-3.3.4-1 5.0:MQTT-4.5.0-2 5.0:MQTT-2.2.1-5 5.0:MQTT-4.3.2-4 \
             5.0:MQTT-4.3.3-8 5.0:MQTT-4.3.3-11 5.0:MQTT-3.4.2-1 5.0:MQTT-3.5.2-1 5.0:MQTT-3.7.2-1",
            &[ack(PUBACK, 258), ack(PUBREC, 259), ack(PUBCOMP, 259)],
        );
    }
}

/// The client acknowledges no message that the application has not accepted.
#[test]
fn acknowledgements_wait_for_the_application() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        client.acknowledges = false;
        client.receive(publish(version, "a", "1").qos(1, 1));
        client.receive(publish(version, "a", "2").qos(2, 2));
        client.shows::<Vec<u8>>("", &[]);
        client.acknowledge(1, ReasonCode::Success);
        client.shows("3.1.1:MQTT-4.3.2-2 5.0:MQTT-4.3.2-4", &[ack(PUBACK, 1)]);
        client.acknowledge(2, ReasonCode::Success);
        client.shows("3.1.1:MQTT-4.3.3-2 5.0:MQTT-4.3.3-8", &[ack(PUBREC, 2)]);
    }
}

#[test]
fn duplicate_of_qos_2_is_answered_and_not_passed_to_the_application() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        client.receive(publish(version, "a", "1").qos(2, 7));
        client.receive(publish(version, "a", "1").qos(2, 7).dup());
        client.receive(publish(version, "a", "1").qos(2, 7));
        client.receive(ack(PUBREL, 7));
        client.receive(publish(version, "a", "2").qos(2, 7).dup());
        client.shows(
            "3.1.1:MQTT-4.3.3-2 5.0:MQTT-4.3.3-10 5.0:MQTT-4.3.3-12",
            &[
                ack(PUBREC, 7),
                ack(PUBREC, 7),
                ack(PUBREC, 7),
                ack(PUBCOMP, 7),
                ack(PUBREC, 7),
            ],
        );
        let expected = ["connected, 0 unfinished", "a 1 2", "a 2 2"];
        client.proves(
            "3.1.1:MQTT-4.3.3-2 5.0:MQTT-4.3.3-10 5.0:MQTT-4.3.3-12",
            client.events.clone(),
            expected.map(String::from).to_vec(),
        );
        // With QoS 1 the packet identifier is free after PUBACK.
        client.receive(publish(version, "a", "3").qos(1, 9));
        client.receive(publish(version, "a", "4").qos(1, 9).dup());
        client.shows(
            "3.1.1:MQTT-4.3.2-2 5.0:MQTT-4.3.2-5",
            &[ack(PUBACK, 9), ack(PUBACK, 9)],
        );
        let last = client.events[client.events.len() - 2..].to_vec();
        client.proves(
            "3.1.1:MQTT-4.3.2-2 5.0:MQTT-4.3.2-5",
            last,
            vec!["a 3 1".to_owned(), "a 4 1".to_owned()],
        );
    }
}

#[test]
fn packet_identifier_is_free_after_a_rejection() {
    let mut client = Client::connected(options(5));
    client.acknowledges = false;
    client.receive(publish(5, "a", "1").qos(2, 7));
    client.acknowledge(7, ReasonCode::QuotaExceeded);
    client.receive(publish(5, "a", "2").qos(2, 7));
    client.shows(
        "5.0:MQTT-4.3.3-9 5.0:MQTT-3.5.2-1",
        &[ack_code(PUBREC, 7, 0x97)],
    );
    let last = client.events.last().cloned();
    client.proves("5.0:MQTT-4.3.3-9", last, Some("a 2 2".to_owned()));
}

#[test]
fn client_resends_unacknowledged_packets_in_order_on_the_next_connection_only() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        for (number, qos) in [(1, 1), (2, 2), (3, 2), (4, 1), (5, 2)] {
            client.publish("a", &number.to_string(), qos).unwrap();
        }
        client.take();
        client.receive([ack(PUBREC, 3), ack(PUBACK, 4)].concat());
        client.take();
        client.wait(1_000_000.0);
        client.shows::<Vec<u8>>("5.0:MQTT-4.4.0-1", &[]);
        client.reconnect();
        client.accept(true);
        client.shows(
            "3.1.1:MQTT-4.4.0-1 3.1.1:MQTT-4.6.0-1 3.1.1:MQTT-3.3.1-1 3.1.1:MQTT-2.3.1-3 \
             3.1.1:MQTT-4.3.2-1 3.1.1:MQTT-4.3.3-1 5.0:MQTT-4.4.0-1 5.0:MQTT-4.6.0-1 \
             5.0:MQTT-3.3.1-1 5.0:MQTT-4.3.2-3 5.0:MQTT-4.3.3-3 5.0:MQTT-4.3.3-5 5.0:MQTT-4.3.3-6 \
             5.0:MQTT-4.4.0-2",
            &[
                publish(version, "a", "1").qos(1, 1).dup().into(),
                publish(version, "a", "2").qos(2, 2).dup().into(),
                ack(PUBREL, 3),
                publish(version, "a", "5").qos(2, 5).dup().into(),
            ],
        );
    }
}

#[test]
fn client_does_not_resend_a_rejected_message() {
    let mut client = Client::connected(options(5));
    client.publish("a", "1", 1).unwrap();
    client.publish("a", "2", 2).unwrap();
    client.take();
    client.receive([ack_code(PUBACK, 1, 0x87), ack_code(PUBREC, 2, 0x87)].concat());
    client.shows::<Vec<u8>>("5.0:MQTT-4.3.3-4", &[]);
    client.reconnect();
    client.accept(true);
    client.shows::<Vec<u8>>("5.0:MQTT-4.4.0-2", &[]);
}

#[test]
fn acknowledgements_are_sent_in_the_order_of_their_messages() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        for identifier in [5, 3, 9] {
            client.receive(publish(version, "a", "x").qos(1, identifier));
        }
        client.shows(
            "3.1.1:MQTT-4.6.0-2 5.0:MQTT-4.6.0-2",
            &[ack(PUBACK, 5), ack(PUBACK, 3), ack(PUBACK, 9)],
        );
        for identifier in [5, 3, 9] {
            client.receive(publish(version, "a", "x").qos(2, identifier));
        }
        client.shows(
            "3.1.1:MQTT-4.6.0-3 5.0:MQTT-4.6.0-3",
            &[ack(PUBREC, 5), ack(PUBREC, 3), ack(PUBREC, 9)],
        );
        for _ in 0..3 {
            client.publish("a", "x", 2).unwrap();
        }
        client.take();
        for identifier in [2, 1, 3] {
            client.receive(ack(PUBREC, identifier));
        }
        client.shows(
            "3.1.1:MQTT-4.6.0-4 5.0:MQTT-4.6.0-4",
            &[ack(PUBREL, 2), ack(PUBREL, 1), ack(PUBREL, 3)],
        );
    }
}

#[test]
fn skips_packet_identifiers_in_use() {
    for version in [4, 5] {
        let mut options = options(version);
        options.limits.packet_identifiers = u16::MAX;
        let mut client = Client::connected(options);
        client.publish("a", "x", 2).unwrap();
        client.subscribe(&["a"]).unwrap();
        client.unsubscribe(&["b"]);
        client.shows(
            "3.1.1:MQTT-2.3.1-1 3.1.1:MQTT-2.3.1-2 5.0:MQTT-2.2.1-3",
            &[
                publish(version, "a", "x").qos(2, 1).into(),
                subscribe(version, 2, &[("a", 2)]),
                unsubscribe(version, 3, &["b"]),
            ],
        );
        // SUBSCRIBE and UNSUBSCRIBE are answered. The message is not acknowledged and keeps its packet identifier.
        client.receive([suback(version, 2, &[2]), unsuback(version, 3, &[0])].concat());
        for number in 4..=65535_u16 {
            client.publish("a", "x", 1).unwrap();
            client.receive(ack(PUBACK, number));
        }
        client.take();
        client.publish("a", "x", 1).unwrap();
        client.shows(
            "3.1.1:MQTT-2.3.1-2 3.1.1:MQTT-2.3.1-3 5.0:MQTT-2.2.1-3 5.0:MQTT-4.3.2-1",
            &[publish(version, "a", "x").qos(1, 2)],
        );
        client.receive(ack(PUBACK, 2));
        // PUBREC does not free the packet identifier; PUBCOMP does.
        client.receive(ack(PUBREC, 1));
        client.take();
        for number in 3..=65535_u16 {
            client.publish("a", "x", 1).unwrap();
            client.receive(ack(PUBACK, number));
        }
        client.take();
        client.publish("a", "x", 1).unwrap();
        client.shows(
            "3.1.1:MQTT-2.3.1-3",
            &[publish(version, "a", "x").qos(1, 2)],
        );
        client.receive([ack(PUBACK, 2), ack(PUBCOMP, 1)].concat());
        for number in 3..=65535_u16 {
            client.publish("a", "x", 1).unwrap();
            client.receive(ack(PUBACK, number));
        }
        client.take();
        client.publish("a", "x", 1).unwrap();
        client.shows(
            "3.1.1:MQTT-2.3.1-3 5.0:MQTT-2.2.1-3",
            &[publish(version, "a", "x").qos(1, 1)],
        );
    }
}

#[test]
fn receive_maximum_of_the_server_limits_only_publish() {
    let mut client = Client::new(options(5));
    client.take();
    client.receive(connack_with(5, false, 0, &two(0x21, 2)));
    client.publish("a", "1", 1).unwrap();
    client.publish("a", "2", 2).unwrap();
    let full = client.publish("a", "3", 1);
    client.proves(
        "5.0:MQTT-3.3.4-7 5.0:MQTT-4.9.0-1 5.0:MQTT-4.9.0-2",
        full,
        Err(PublishError::QuotaUsedUp),
    );
    client.take();
    client.publish("a", "0", 0).unwrap();
    client.subscribe(&["a"]).unwrap();
    client.receive(publish(5, "a", "x").qos(1, 7));
    client.receive(ack(PUBREC, 2));
    client.shows(
        "5.0:MQTT-3.3.4-8 5.0:MQTT-4.9.0-3",
        &[
            publish(5, "a", "0").into(),
            subscribe(5, 3, &[("a", 2)]),
            ack(PUBACK, 7),
            ack(PUBREL, 2),
        ],
    );
    // An acknowledgement of an unknown packet identifier does not enlarge the window. The end of an exchange does.
    client.receive([ack(PUBACK, 99), ack(PUBCOMP, 98)].concat());
    let full = client.publish("a", "3", 1);
    client.proves("5.0:MQTT-3.3.4-7", full, Err(PublishError::QuotaUsedUp));
    client.receive(ack(PUBACK, 1));
    client.publish("a", "3", 1).unwrap();
    let full = client.publish("a", "4", 1);
    client.proves("5.0:MQTT-4.9.0-2", full, Err(PublishError::QuotaUsedUp));
}

/// If the new window is smaller than the number of exchanges in flight, resent messages wait, too.
#[test]
fn resending_obeys_a_smaller_receive_maximum() {
    let mut client = Client::connected(options(5));
    for number in 1..=3 {
        client.publish("a", &number.to_string(), 1).unwrap();
    }
    client.reconnect();
    client.receive(connack_with(5, true, 0, &two(0x21, 1)));
    client.shows(
        "5.0:MQTT-4.9.0-2 5.0:MQTT-3.3.4-7",
        &[publish(5, "a", "1").qos(1, 1).dup()],
    );
    client.receive(ack(PUBACK, 1));
    client.shows("5.0:MQTT-4.9.0-2", &[publish(5, "a", "2").qos(1, 2).dup()]);
}

/// The client finishes an exchange even if the message has expired in the meantime.
#[test]
fn handshake_of_an_expired_message_is_completed() {
    let mut client = Client::connected(options(5));
    let expiry = mqtt_codec::Property::MessageExpiryInterval(10);
    let properties = mqtt_codec::MessageProperties::new([expiry]).unwrap();
    let message = mqtt_codec::Message {
        properties: Some(Box::new(properties)),
        ..mqtt_codec::Message::new(TopicName::new("a").unwrap(), "x")
    };
    let qos = mqtt_codec::QoS::ExactlyOnce;
    let outgoing = mqtt_session::OutboundMessage::new(std::sync::Arc::new(message), qos);
    client.publish_message(outgoing).unwrap();
    client.take();
    client.wait(1000.0);
    client.reconnect();
    client.accept(true);
    let again = publish(5, "a", "x")
        .qos(2, 1)
        .dup()
        .property(&four(0x02, 10));
    client.shows("5.0:MQTT-4.3.3-7", &[again]);
    // The client also finishes the exchange of a message that arrives with a Message Expiry Interval of 0.
    client.receive(publish(5, "a", "y").qos(2, 7).property(&four(0x02, 0)));
    client.receive(ack(PUBREL, 7));
    client.shows("5.0:MQTT-4.3.3-13", &[ack(PUBREC, 7), ack(PUBCOMP, 7)]);
}
