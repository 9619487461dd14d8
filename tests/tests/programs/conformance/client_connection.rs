//! CONNECT, the effects of CONNACK, keep alive and DISCONNECT in the client.

use mqtt_codec::{Message, MessageProperties, Property, QoS, ReasonCode, TopicName, Will};

use super::bytes::*;
use super::client::{Client, options};
use super::record::End;

/// Returns a will that has every property.
fn will(version: u8, qos: QoS, retain: bool) -> Will {
    let mut message = Message::new(TopicName::new("w").unwrap(), "gone");
    message.retain = retain;
    if version == 5 {
        let properties =
            MessageProperties::new([Property::ContentType("text"), Property::User("n", "v")]);
        message.properties = Some(Box::new(properties.unwrap()));
    }
    Will {
        will_delay_interval: (version == 5).then_some(5),
        ..Will::new(message, qos)
    }
}

#[test]
fn connect_is_first_and_has_the_fields_that_its_flags_name_in_order() {
    for version in [4, 5] {
        let mut plain = options(version);
        plain.connect.clean_start = true;
        plain.connect.properties.session_expiry_interval = None;
        let mut client = Client::new(plain.clone());
        client.shows(
            "3.1.1:MQTT-3.1.0-1 3.1.1:MQTT-3.1.3-3 3.1.1:MQTT-3.1.3-4 3.1.1:MQTT-3.1.2-11 \
             3.1.1:MQTT-3.1.2-13 3.1.1:MQTT-3.1.2-15 3.1.1:MQTT-3.1.2-18 3.1.1:MQTT-3.1.2-20 \
             3.1.1:MQTT-3.1.2-22 5.0:MQTT-3.1.0-1 5.0:MQTT-3.1.2-1 5.0:MQTT-3.1.3-3 5.0:MQTT-3.1.3-4 \
             5.0:MQTT-3.1.2-11 5.0:MQTT-3.1.2-13 5.0:MQTT-3.1.2-16 5.0:MQTT-3.1.2-18 \
             5.0:MQTT-2.2.2-1 3.1.1:MQTT-1.5.3-1 5.0:MQTT-1.5.4-1",
            &[connect(version, "c")],
        );
        for (qos, value) in [
            (QoS::AtMostOnce, 0),
            (QoS::AtLeastOnce, 1),
            (QoS::ExactlyOnce, 2),
        ] {
            for retain in [false, true] {
                let mut full = plain.clone();
                full.connect.will = Some(will(version, qos, retain));
                full.connect.user_name = Some("user".into());
                full.connect.password = Some("pass".into());
                let mut client = Client::new(full);
                let properties = [
                    four(0x18, 5),
                    text_property(0x03, "text"),
                    user_property("n", "v"),
                ]
                .concat();
                let expected = connect(version, "c")
                    .will_with("w", "gone", value << 3 | u8::from(retain) << 5, &properties)
                    .flags(0xC0)
                    .more(&[text("user"), text("pass")].concat());
                client.shows(
                    "3.1.1:MQTT-3.1.3-1 3.1.1:MQTT-3.1.2-9 3.1.1:MQTT-3.1.2-14 3.1.1:MQTT-3.1.2-19 \
                     3.1.1:MQTT-3.1.2-21 3.1.1:MQTT-3.1.3-10 3.1.1:MQTT-3.1.3-11 5.0:MQTT-3.1.3-1 \
                     5.0:MQTT-3.1.2-9 5.0:MQTT-3.1.2-12 5.0:MQTT-3.1.2-17 5.0:MQTT-3.1.2-19 \
                     5.0:MQTT-3.1.3-11 5.0:MQTT-3.1.3-12",
                    &[expected],
                );
            }
        }
        let mut no_user = plain;
        no_user.connect.password = Some("pass".into());
        let mut core = mqtt_client::ClientCore::new(no_user.clone(), None);
        let is_refused = core.handle_reached(std::time::Instant::now()).is_err();
        if version == 4 {
            // 3.1.1 has no password without a user name.
            super::record::proves(End::Client, 4, "3.1.1:MQTT-3.1.2-22", is_refused, true);
        } else {
            Client::new(no_user).shows(
                "5.0:MQTT-3.1.2-19 5.0:MQTT-3.1.2-16",
                &[connect(5, "c").flags(0x40).more(&text("pass"))],
            );
        }
    }
}

#[test]
fn empty_client_identifier_is_sent_with_clean_session() {
    let mut options = options(4);
    options.connect.client_identifier = String::new();
    options.connect.clean_start = true;
    let mut client = Client::new(options);
    client.shows("3.1.1:MQTT-3.1.3-7", &[connect(4, "")]);
}

#[test]
fn only_a_client_with_a_session_accepts_session_present() {
    for version in [4, 5] {
        let mut clean = options(version);
        clean.connect.clean_start = true;
        let mut client = Client::new(clean);
        client.take();
        client.receive(connack(version, true, 0));
        client.shows_closed("5.0:MQTT-3.2.2-4", &[]);
    }
}

#[test]
fn resends_messages_as_new_ones_if_the_server_has_lost_the_session() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        client.publish("a", "x", 1).unwrap();
        client.publish("a", "y", 2).unwrap();
        client.take();
        client.receive(publish(version, "a", "z").qos(2, 7));
        client.take();
        client.reconnect();
        client.accept(false);
        // The messages are resent as new ones, with DUP 0 and with packet identifiers from 1 on.
        client.shows(
            "3.1.1:MQTT-3.1.2-6 5.0:MQTT-3.2.2-5",
            &[
                publish(version, "a", "x").qos(1, 1),
                publish(version, "a", "y").qos(2, 2),
            ],
        );
        // A packet identifier that was received before now belongs to a new message.
        client.receive(publish(version, "a", "new").qos(2, 7));
        client.shows("5.0:MQTT-3.2.2-5", &[ack(PUBREC, 7)]);
        let messages = client
            .events
            .iter()
            .filter(|event| event.starts_with("a "))
            .count();
        client.proves("3.1.1:MQTT-3.1.2-6 5.0:MQTT-3.2.2-5", messages, 2);
    }
}

#[test]
fn clean_start_discards_the_state_of_earlier_connections() {
    for version in [4, 5] {
        let mut clean = options(version);
        clean.connect.clean_start = true;
        clean.connect.properties.session_expiry_interval = None;
        let mut client = Client::connected(clean);
        client.receive(publish(version, "a", "x").qos(2, 7));
        client.take();
        client.reconnect();
        client.accept(false);
        client.receive(publish(version, "a", "y").qos(2, 7));
        client.shows("3.1.1:MQTT-3.1.2-6 5.0:MQTT-3.1.2-4", &[ack(PUBREC, 7)]);
        let messages: Vec<_> = client
            .events
            .iter()
            .filter(|event| event.starts_with("a "))
            .cloned()
            .collect();
        client.proves(
            "3.1.1:MQTT-3.1.2-6 5.0:MQTT-3.1.2-4",
            messages,
            vec!["a x 2".to_owned(), "a y 2".to_owned()],
        );
    }
}

#[test]
fn a_client_without_clean_start_keeps_its_session() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        client.publish("a", "x", 1).unwrap();
        client.take();
        client.wait(1_000_000.0);
        client.proves(
            "3.1.1:MQTT-4.1.0-1 3.1.1:MQTT-4.1.0-2 5.0:MQTT-4.1.0-1",
            client.core.unfinished(),
            1,
        );
        client.reconnect();
        client.accept(true);
        client.shows(
            "3.1.1:MQTT-3.1.2-4 3.1.1:MQTT-4.1.0-1 3.1.1:MQTT-3.1.3-2 5.0:MQTT-3.1.2-23 \
             5.0:MQTT-4.1.0-1 5.0:MQTT-3.1.3-2",
            &[publish(version, "a", "x").qos(1, 1).dup()],
        );
    }
}

#[test]
fn an_assigned_client_identifier_is_used_again() {
    let mut options = options(5);
    options.connect.client_identifier = String::new();
    let mut client = Client::new(options);
    client.take();
    client.receive(connack_with(5, false, 0, &text_property(0x12, "assigned")));
    client.reconnect();
    client.receive(vec![]);
    let name = client
        .core
        .connection()
        .unwrap()
        .client_identifier()
        .to_string();
    client.proves("5.0:MQTT-3.1.3-2", name, "assigned".to_owned());
}

#[test]
fn a_client_sends_pingreq_within_keep_alive() {
    for version in [4, 5] {
        let mut pinging = options(version);
        pinging.connect.keep_alive = 10;
        let mut client = Client::connected(pinging);
        client.wait(9.9);
        client.shows::<Vec<u8>>("", &[]);
        client.wait(0.1);
        client.shows("3.1.1:MQTT-3.1.2-23 5.0:MQTT-3.1.2-20", &[pingreq()]);
        client.receive(pingresp());
        client.wait(10.0);
        client.shows("3.1.1:MQTT-3.1.2-23 5.0:MQTT-3.1.2-20", &[pingreq()]);
        // Without an answer the client ends the connection.
        client.wait(10.0);
        client.shows_closed("3.1.1:U3-06", &goodbye(version, 0x82));
    }
}

#[test]
fn server_keep_alive_replaces_keep_alive_of_the_client() {
    let mut slow = options(5);
    slow.connect.keep_alive = 60;
    let mut client = Client::new(slow.clone());
    client.take();
    client.receive(connack_with(5, false, 0, &two(0x13, 10)));
    client.wait(10.0);
    client.shows("5.0:MQTT-3.1.2-21 5.0:MQTT-3.2.2-21", &[pingreq()]);
    let mut client = Client::new(slow);
    client.take();
    client.receive(connack_with(5, false, 0, &two(0x13, 0)));
    client.wait(1_000_000.0);
    client.shows::<Vec<u8>>("5.0:U5-27 5.0:MQTT-3.2.2-21", &[]);
}

#[test]
fn client_closes_the_connection_if_connack_is_late() {
    for version in [4, 5] {
        let mut client = Client::new(options(version));
        client.take();
        client.wait(60.0);
        client.shows_closed("3.1.1:U3-07", &[]);
    }
}

#[test]
fn client_sends_nothing_after_disconnect() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        client.disconnect();
        let _ = client.publish("a", "x", 0);
        client.receive(publish(version, "a", "x").qos(1, 1));
        client.shows_closed(
            "3.1.1:MQTT-3.14.4-1 3.1.1:MQTT-3.14.4-2 5.0:MQTT-3.14.4-1 5.0:MQTT-3.14.4-2 \
             5.0:MQTT-3.14.2-1",
            &disconnect(),
        );
    }
}

#[test]
fn disconnect_with_an_error_code_ends_the_connection() {
    for code in [0x80, 0x82, 0x87, 0x8E, 0x98] {
        let mut client = Client::connected(options(5));
        client.receive(disconnect_code(code));
        client.shows_closed("5.0:MQTT-4.13.2-1", &[]);
    }
    for code in [0x80, 0x86, 0x87, 0x8C, 0x9F] {
        let mut client = Client::new(options(5));
        client.take();
        client.receive(connack(5, false, code));
        client.shows_closed("5.0:MQTT-4.13.2-1", &[]);
    }
    // A client that detects an error sends DISCONNECT with the reason.
    let mut client = Client::connected(options(5));
    client.receive(pingreq());
    client.shows_closed(
        "5.0:MQTT-4.13.2-1 5.0:MQTT-3.14.2-1",
        &disconnect_code(0x82),
    );
}

#[test]
fn client_understands_connack_of_an_older_server() {
    for code in [0, 1] {
        let mut client = Client::new(options(5));
        client.take();
        client.receive(vec![0x20, 2, 0, code]);
        client.shows_closed("", &[]);
        client.proves("5.0:U5-29", client.refusal(), Some(0x84));
    }
}

/// The client respects the limits of CONNACK before it sends anything.
#[test]
fn client_sends_nothing_that_connack_does_not_permit() {
    let limits = [vec![0x24, 1], vec![0x25, 0], four(0x27, 20)].concat();
    let mut client = Client::new(options(5));
    client.take();
    client.receive(connack_with(5, false, 0, &limits));
    let refused = client.publish("a", "x", 2).is_err();
    client.proves("5.0:MQTT-3.2.2-11 5.0:U5-18", refused, true);
    let mut message = Message::new(TopicName::new("a").unwrap(), "x");
    message.retain = true;
    let outgoing =
        mqtt_session::OutboundMessage::new(std::sync::Arc::new(message), QoS::AtMostOnce);
    let refused = client.publish_message(outgoing).is_err();
    client.proves("5.0:MQTT-3.2.2-14 5.0:U5-19", refused, true);
    // 1 + 1 + 3 + 2 + 1 + 12 = 20 bytes are allowed, 21 are not.
    let refused = client.publish("a", "0123456789abc", 1).is_err();
    client.proves("5.0:MQTT-3.2.2-15", refused, true);
    client.publish("a", "0123456789ab", 1).unwrap();
    client.shows(
        "5.0:MQTT-3.2.2-11 5.0:MQTT-3.2.2-14 5.0:MQTT-3.2.2-15",
        &[publish(5, "a", "0123456789ab").qos(1, 1)],
    );
}

#[test]
fn a_client_uses_topic_aliases_only_as_the_server_allows() {
    for (announced, statements) in [
        (None, "5.0:MQTT-3.2.2-18"),
        (Some(0), "5.0:MQTT-3.2.2-18 5.0:MQTT-3.3.2-8"),
        (
            Some(1),
            "5.0:MQTT-3.2.2-17 5.0:MQTT-3.3.2-9 5.0:MQTT-3.3.2-8",
        ),
    ] {
        let mut with_aliases = options(5);
        with_aliases.limits.topic_aliases = 10;
        let mut client = Client::new(with_aliases);
        client.take();
        let property = announced
            .map(|maximum| two(0x22, maximum))
            .unwrap_or_default();
        client.receive(connack_with(5, false, 0, &property));
        for topic in ["a", "b", "a"] {
            client.publish(topic, "x", 0).unwrap();
        }
        let expected = match announced {
            Some(1) => [
                publish(5, "a", "x").property(&two(0x23, 1)),
                publish(5, "b", "x"),
                publish(5, "", "x").property(&two(0x23, 1)),
            ],
            _ => ["a", "b", "a"].map(|topic| publish(5, topic, "x")),
        };
        client.shows(statements, &expected);
    }
}

/// A client may send fewer reason codes than a server.
#[test]
fn client_sends_only_reason_codes_of_a_client() {
    let mut client = Client::connected(options(5));
    client.receive(publish(5, "+", "x"));
    client.shows_closed(
        "5.0:MQTT-3.14.2-1",
        &disconnect_code(ReasonCode::TopicNameInvalid.value()),
    );
}
