//! Attacks that create mutations for the store faster than the disk can write them.

use std::time::Duration;

use mqtt_codec::*;
use tests::subscribe;

use super::attacker::{
    Attacker, delivery, durable, leave_sessions, message, publish_acknowledged, retained,
};
use crate::ground::Ground;
use crate::scenario::{Limit, NO_LIMIT, SETTLE, Scale, Scenario, persistent};

pub(crate) fn scenarios() -> [Scenario; 3] {
    [
        Scenario {
            name: "A1a",
            title: "retained messages of QoS 0 to 1000 topics in a loop, 30 MB",
            settings: persistent,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: retain_in_a_loop,
        },
        Scenario {
            name: "A1b",
            title: "four durable sessions, each with a SUBSCRIBE of 2 MB that repeats one filter",
            settings: persistent,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: repeat_a_filter,
        },
        Scenario {
            name: "A1c",
            title: "1000 messages of 8 bytes at QoS 1 for 2100 durable sessions that are away",
            settings: persistent,
            limit: Limit {
                bytes: 2100 * 1000 * 64,
                reason: "64 bytes for each place of 2100 queues with max_queued_messages 1000",
            },
            settle: SETTLE,
            is_quick: false,
            attack: fill_many_queues,
        },
    ]
}

fn retain_in_a_loop(ground: &mut Ground) {
    let bytes = match ground.scale {
        Scale::Quick => 3_000_000,
        Scale::Full | Scale::Long => 30_000_000,
    };
    let messages: Vec<_> = (0..1000)
        .map(|number| retained(&format!("r/{number}"), 10))
        .collect();
    let mut attacker = Attacker::connect(ground, "attacker");
    ground.begin();
    while attacker.peer.sent() < bytes && !ground.time_left().is_zero() {
        for message in &messages {
            attacker.push(&PacketRef::Publish(message.publish(Delivery::AtMostOnce)));
        }
        if !attacker.flush() {
            break;
        }
    }
    let is_handled = attacker.ping(ground.time_left());
    ground.fact(format!(
        "{} MB taken, {}",
        attacker.peer.sent() / 1_000_000,
        if is_handled {
            "all handled"
        } else {
            "not all handled in time"
        }
    ));
}

fn repeat_a_filter(ground: &mut Ground) {
    let count = 499_000;
    let mut sessions: Vec<_> = (0..4)
        .map(|number| Attacker::with(ground, durable(&format!("session{number}"))))
        .collect();
    ground.begin();
    let packet = subscribe((0..count).map(|_| "a".to_owned()), QoS::AtLeastOnce);
    for session in &mut sessions {
        session.send(&packet);
    }
    let mut answered = 0;
    for session in &mut sessions {
        let is_answered = session.read_until(ground.time_left(), |packet| {
            matches!(packet, PacketRef::Suback(_))
        });
        answered += usize::from(is_answered);
    }
    ground.fact(format!("{answered} of 4 answered"));
}

fn fill_many_queues(ground: &mut Ground) {
    leave_sessions(ground, 2100, "t");
    let mut publisher = Attacker::connect(ground, "publisher");
    ground.begin();
    let message = message("t", 8);
    let acknowledged = publish_acknowledged(ground, &mut publisher, &message, 1000);
    ground.fact(format!("{acknowledged} of 1000 acknowledged"));
    // A message of another topic shows that the broker serves the publisher again.
    let last = super::attacker::message("other", 8);
    publisher.send(&PacketRef::Publish(
        last.publish(delivery(QoS::AtLeastOnce, 2000)),
    ));
    publisher.read_until(Duration::from_secs(5), |packet| {
        matches!(packet, PacketRef::Puback(_))
    });
}
