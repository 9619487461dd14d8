//! Attacks by subscriptions: many topic filters, and topic filters that match many topics.

use mqtt_codec::*;
use tests::subscribe;

use super::attacker::{Attacker, disconnect, message, outruns_bystander, retain_all};
use crate::ground::Ground;
use crate::scenario::{NO_LIMIT, SETTLE, Scale, Scenario, in_memory};

/// A topic name of 16 levels. In a filter each level may be the name or `+`, which gives 65,536 filters.
const TOPIC: &str = "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p";

pub(crate) fn scenarios() -> [Scenario; 3] {
    [
        Scenario {
            name: "A3a",
            title: "65,536 overlapping filters and 52 kB of messages for them",
            settings: in_memory,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: overlap,
        },
        Scenario {
            name: "A3b",
            title: "a SUBSCRIBE of 2 MB with # 499,000 times, and 1000 retained messages",
            settings: in_memory,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: ask_for_all,
        },
        Scenario {
            name: "A3c",
            title: "a SUBSCRIBE of 1.7 MB with 100,000 shared subscriptions, and the end of the session",
            settings: in_memory,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: share,
        },
    ]
}

/// Returns topic filters that match [`TOPIC`]. The first `levels` levels vary in all combinations.
pub(crate) fn overlapping(levels: u32) -> impl Iterator<Item = String> {
    (0..1_u32 << levels).map(move |wildcards| {
        let level = |(index, name): (usize, &str)| match wildcards >> index & 1 {
            1 => "+".to_owned(),
            _ => name.to_owned(),
        };
        let levels: Vec<_> = TOPIC.split('/').enumerate().map(level).collect();
        levels.join("/")
    })
}

fn overlap(ground: &mut Ground) {
    let mut attacker = Attacker::connect(ground, "attacker");
    ground.begin();
    // Two packets are sent, because one would be larger than the broker accepts.
    let filters: Vec<_> = overlapping(16).collect();
    for half in filters.chunks(filters.len() / 2) {
        attacker.send(&subscribe(half.iter().cloned(), QoS::AtMostOnce));
        attacker.read_until(ground.time_left(), |packet| {
            matches!(packet, PacketRef::Suback(_))
        });
    }
    let message = message(TOPIC, 0);
    let count = match ground.scale {
        Scale::Quick => 100,
        Scale::Full | Scale::Long => 52_000 / 35,
    };
    for _ in 0..count {
        attacker.push(&PacketRef::Publish(message.publish(Delivery::AtMostOnce)));
    }
    attacker.push(&PacketRef::Pingreq);
    attacker.flush();
    let is_handled = outruns_bystander(ground, &mut attacker, |packet| {
        *packet == PacketRef::Pingresp
    }) || attacker
        .read_until(ground.time_left(), |packet| *packet == PacketRef::Pingresp);
    ground.fact(format!(
        "{count} messages, {}",
        if is_handled {
            "all handled"
        } else {
            "not handled in time"
        }
    ));
}

fn ask_for_all(ground: &mut Ground) {
    retain_all(ground, (0..1000).map(|number| format!("retained/{number}")));
    let mut attacker = Attacker::connect(ground, "attacker");
    ground.begin();
    let filters = (0..499_000).map(|_| "#".to_owned());
    attacker.send(&subscribe(filters, QoS::AtMostOnce));
    let mut is_answered = outruns_bystander(ground, &mut attacker, |packet| {
        matches!(packet, PacketRef::Suback(_))
    });
    let mut received = 0_u64;
    // The subscription also matches the messages of the bystander, so the messages never end.
    let _ = attacker.read_until(ground.time_left(), |packet| {
        received += u64::from(matches!(packet, PacketRef::Publish(_)));
        is_answered |= matches!(packet, PacketRef::Suback(_));
        is_answered && received >= 1000
    });
    ground.fact(format!(
        "SUBACK {}, {received} messages read",
        if is_answered {
            "read"
        } else {
            "not read in time"
        }
    ));
}

fn share(ground: &mut Ground) {
    let mut attacker = Attacker::connect(ground, "attacker");
    ground.begin();
    let filters = (0..100_000).map(|number| format!("$share/{number}/a"));
    attacker.send(&subscribe(filters, QoS::AtMostOnce));
    let is_answered = outruns_bystander(ground, &mut attacker, |packet| {
        matches!(packet, PacketRef::Suback(_))
    }) || attacker.read_until(ground.time_left(), |packet| {
        matches!(packet, PacketRef::Suback(_))
    });
    attacker.send(&disconnect());
    ground.fact(format!(
        "SUBACK {}",
        if is_answered {
            "read"
        } else {
            "not read in time"
        }
    ));
}
