//! Messages that must not be lost: after many retained messages, and after a message that is never acknowledged.

use std::thread;
use std::time::Duration;

use mqtt_codec::*;
use tests::{Acknowledge, Peer};

use super::attacker::{Attacker, delivery, message, publish_acknowledged, retain_all, retained};
use crate::ground::Ground;
use crate::scenario::{NO_LIMIT, SETTLE, Scale, Scenario, in_memory};

pub(crate) fn scenarios() -> [Scenario; 2] {
    [
        Scenario {
            name: "C19",
            title: "3000 retained topics for a subscriber that reads late, and an update of one meanwhile",
            settings: in_memory,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: update_behind_retained,
        },
        Scenario {
            name: "C21",
            title: "one message that is never acknowledged, and 70,000 more",
            settings: in_memory,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: false,
            attack: never_acknowledge,
        },
    ]
}

fn update_behind_retained(ground: &mut Ground) {
    retain_all(ground, (0..3000).map(|number| format!("home/{number}")));
    let mut reader = Peer::connect(ground.address(), "reader");
    let mut publisher = Attacker::connect(ground, "publisher");
    ground.begin();
    reader.push(&tests::subscribe(["home/#".to_owned()], QoS::AtLeastOnce));
    reader.flush();
    if ground.scale != Scale::Quick {
        // The reader starts late, like a program that reads from a pipe.
        thread::sleep(Duration::from_secs(1));
    }
    let mut update = retained("home/2500", 3);
    update.payload = b"NEW".to_vec().into();
    publish_acknowledged(ground, &mut publisher, &update, 1);
    let mut reader = Attacker::new(ground, reader);
    let (mut received, mut last) = (0, Vec::new());
    let time = ground.time_left().min(Duration::from_secs(5));
    reader.read_until(time, |packet| {
        if let PacketRef::Publish(publish) = packet {
            received += 1;
            if publish.topic_name == "home/2500" {
                last = publish.payload.to_vec();
            }
        }
        last == b"NEW" && received >= 3000
    });
    let is_new = last == b"NEW";
    ground.fact(format!(
        "{received} messages, the update {}",
        if is_new { "delivered" } else { "lost" }
    ));
    ground.expect(is_new, "the update is delivered".to_owned());
    ground.expect(received >= 3000, "each topic is delivered".to_owned());
}

fn never_acknowledge(ground: &mut Ground) {
    const COUNT: usize = 70_000;
    const BATCH: usize = 500;
    let mut subscriber = Peer::connect(ground.address(), "stuck");
    subscriber.subscribe("t", QoS::AtLeastOnce);
    subscriber.acknowledge(Acknowledge::AllButFirst);
    let mut subscriber = Attacker::new(ground, subscriber);
    let mut publisher = Attacker::connect(ground, "publisher");
    ground.begin();
    let message = message("t", 8);
    let (mut sent, mut received) = (0, 0);
    while sent < COUNT && received == sent && !ground.time_left().is_zero() {
        for number in sent..sent + BATCH {
            let delivery = delivery(QoS::AtLeastOnce, number);
            publisher.push(&PacketRef::Publish(message.publish(delivery)));
        }
        sent += BATCH;
        publisher.flush();
        let mut open = BATCH;
        publisher.read_until(ground.time_left(), |packet| {
            open -= usize::from(matches!(packet, PacketRef::Puback(_)));
            open == 0
        });
        // A subscriber that receives nothing for three seconds is blocked.
        let time = ground.time_left().min(Duration::from_secs(3));
        subscriber.read_until(time, |packet| {
            received += usize::from(matches!(packet, PacketRef::Publish(_)));
            received == sent
        });
    }
    ground.fact(format!("{received} of {COUNT} delivered"));
    ground.expect(received == COUNT, "all messages are delivered".to_owned());
}
