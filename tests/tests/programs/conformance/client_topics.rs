//! The topics and topic aliases that a client sends and accepts.

use mqtt_codec::{TopicFilter, TopicName};

use super::bytes::*;
use super::client::{Client, options};

#[test]
fn a_client_takes_topic_aliases_up_to_its_maximum_on_each_connection() {
    let mut taking = options(5);
    taking.limits.topic_alias_maximum = 3;
    let mut client = Client::connected(taking);
    for alias in 1..=3 {
        client.receive(publish(5, &format!("t/{alias}"), "x").property(&two(0x23, alias)));
    }
    for alias in [3, 1, 2] {
        client.receive(publish(5, "", "y").property(&two(0x23, alias)));
    }
    let expected = [
        "connected, 0 unfinished",
        "t/1 x 0",
        "t/2 x 0",
        "t/3 x 0",
        "t/3 y 0",
        "t/1 y 0",
        "t/2 y 0",
    ];
    let expected = expected.map(String::from).to_vec();
    client.proves("5.0:MQTT-3.3.2-10", client.events.clone(), expected);
    client.reconnect();
    client.accept(true);
    client.receive(publish(5, "", "y").property(&two(0x23, 1)));
    client.shows_closed("5.0:MQTT-3.3.2-7", &disconnect_code(0x82));
}

#[test]
fn topic_aliases_of_the_client_are_set_again_on_each_connection() {
    let mut giving = options(5);
    giving.limits.topic_aliases = 3;
    let mut client = Client::new(giving);
    client.take();
    let property = two(0x22, 3);
    client.receive(connack_with(5, false, 0, &property));
    client.publish("a", "1", 1).unwrap();
    client.publish("a", "2", 1).unwrap();
    client.shows(
        "",
        &[
            publish(5, "a", "1").qos(1, 1).property(&two(0x23, 1)),
            publish(5, "", "2").qos(1, 2).property(&two(0x23, 1)),
        ],
    );
    client.reconnect();
    client.receive(connack_with(5, true, 0, &property));
    client.publish("a", "3", 1).unwrap();
    client.shows(
        "5.0:MQTT-3.3.2-7",
        &[
            publish(5, "a", "1").qos(1, 1).dup(),
            publish(5, "a", "2").qos(1, 2).dup(),
            publish(5, "a", "3").qos(1, 3).property(&two(0x23, 1)),
        ],
    );
}

#[test]
fn subscribe_and_unsubscribe_contain_their_filters() {
    for version in [4, 5] {
        let mut client = Client::connected(options(version));
        client.subscribe(&["a/#", "\u{e9}"]).unwrap();
        client.unsubscribe(&["a/#", "b"]);
        client.shows(
            "3.1.1:MQTT-3.8.1-1 3.1.1:MQTT-3.8.3-1 3.1.1:MQTT-3.8.3-3 3.1.1:MQTT-3.10.1-1 \
             3.1.1:MQTT-3.10.3-1 3.1.1:MQTT-3.10.3-2 5.0:MQTT-3.8.1-1 5.0:MQTT-3.8.3-1 \
             5.0:MQTT-3.8.3-2 5.0:MQTT-3.10.1-1 5.0:MQTT-3.10.3-1 5.0:MQTT-3.10.3-2",
            &[
                subscribe(version, 1, &[("a/#", 2), ("\u{e9}", 2)]),
                unsubscribe(version, 2, &["a/#", "b"]),
            ],
        );
    }
}

/// The types of the library do not permit an invalid topic name or topic filter.
#[test]
fn client_cannot_send_an_invalid_topic() {
    for version in [4, 5] {
        let client = Client::connected(options(version));
        let names = ["", "+", "a/#", "a\0"].map(|name| TopicName::new(name).is_err());
        client.proves(
            "3.1.1:MQTT-4.7.1-1 3.1.1:MQTT-4.7.3-1 3.1.1:MQTT-4.7.3-2 3.1.1:MQTT-3.3.2-2 \
             5.0:MQTT-4.7.0-1 5.0:MQTT-4.7.3-1 5.0:MQTT-4.7.3-2 5.0:MQTT-3.3.2-2",
            names,
            [true; 4],
        );
        let filters = ["a#", "#/a", "a+", "+a"].map(|filter| TopicFilter::new(filter).is_err());
        client.proves(
            "3.1.1:MQTT-4.7.1-2 3.1.1:MQTT-4.7.1-3 5.0:MQTT-4.7.1-1 5.0:MQTT-4.7.1-2",
            filters,
            [true; 4],
        );
    }
    let client = Client::connected(options(5));
    let shared = [
        "$share",
        "$share/g",
        "$share//a",
        "$share/+/a",
        "$share/#/a",
        "$share/g/",
    ];
    let shared = shared.map(|filter| TopicFilter::new(filter).is_err());
    client.proves("5.0:MQTT-4.8.2-1 5.0:MQTT-4.8.2-2", shared, [true; 6]);
}
