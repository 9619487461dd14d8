//! Attacks that try to make the broker use more memory than its limits permit.

use mqtt_codec::*;
use tests::{Kind, Peer, subscribe};

use super::attacker::{Attacker, delivery, durable_5, message, publish_acknowledged, retained};
use super::filters::overlapping;
use crate::ground::{Ground, ROOM};
use crate::scenario::{Limit, NO_LIMIT, SETTLE, Scenario, Site, in_memory};

/// The limit of `max_queued_bytes` and `max_retained_bytes`.
const LIMIT: u64 = 1_000_000;

/// Memory that the broker may use for each byte that the limit counts.
const FACTOR: u64 = 4;

/// The levels of the overlapping filters with own subscription identifiers: 16,384 of them.
const LEVELS: u32 = 14;

pub(crate) fn scenarios() -> [Scenario; 5] {
    let limit = Limit {
        bytes: LIMIT,
        reason: "the limit of 1 MB",
    };
    [
        Scenario {
            name: "B6a",
            title: "2 MB of filters with 200 levels",
            settings: in_memory,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: subscribe_deeply,
        },
        Scenario {
            name: "B6b",
            title: "2 MB of retained messages with 200 levels in their topics",
            settings: in_memory,
            limit: NO_LIMIT,
            settle: SETTLE,
            is_quick: true,
            attack: retain_deeply,
        },
        Scenario {
            name: "B8a",
            title: "max_queued_bytes of 1 MB; 20 MB of user properties for a client that is away",
            settings: with_queue_limit,
            limit,
            settle: SETTLE,
            is_quick: true,
            attack: queue_properties,
        },
        Scenario {
            name: "B8b",
            title: "max_queued_bytes of 1 MB; 16,384 subscription identifiers in each of 1000 messages",
            settings: with_queue_limit,
            limit,
            settle: SETTLE,
            is_quick: false,
            attack: queue_identifiers,
        },
        Scenario {
            name: "B8c",
            title: "max_retained_bytes of 1 MB; 20 MB of user properties in retained messages",
            settings: with_retained_limit,
            limit,
            settle: SETTLE,
            is_quick: true,
            attack: retain_properties,
        },
    ]
}

fn with_queue_limit(_: &Site<'_>) -> Option<String> {
    Some(format!(
        "max_queued_bytes {LIMIT}\nmax_queued_messages 10000\n"
    ))
}

/// Returns the settings with a limit for retained messages, which mosquitto lacks.
fn with_retained_limit(site: &Site<'_>) -> Option<String> {
    (site.kind == Kind::Rbroker).then(|| format!("max_retained_bytes {LIMIT}\n"))
}

/// Returns topic names of 200 levels and about 400 bytes, which differ in their first level.
fn deep_topics() -> impl Iterator<Item = String> {
    (0..4900).map(|number| format!("{number:04}{}", "/a".repeat(199)))
}

fn subscribe_deeply(ground: &mut Ground) {
    let mut attacker = Attacker::connect(ground, "attacker");
    ground.begin();
    attacker.send(&subscribe(deep_topics(), QoS::AtMostOnce));
    let is_answered = attacker.read_until(ground.time_left(), |packet| {
        matches!(packet, PacketRef::Suback(_))
    });
    ground.fact(format!(
        "SUBACK {}; {:.1} MB while subscribed",
        if is_answered {
            "read"
        } else {
            "not read in time"
        },
        taken(ground) as f64 / 1e6,
    ));
}

fn retain_deeply(ground: &mut Ground) {
    let mut attacker = Attacker::connect(ground, "attacker");
    ground.begin();
    for topic in deep_topics() {
        let message = retained(&topic, 1);
        attacker.push(&PacketRef::Publish(message.publish(Delivery::AtMostOnce)));
    }
    attacker.flush();
    let is_handled = attacker.ping(ground.time_left());
    ground.expect(is_handled, "all messages are handled".to_owned());
}

fn queue_properties(ground: &mut Ground) {
    let mut absent = Peer::try_open(ground.address(), durable_5("absent", 3600))
        .expect("the broker accepts the session");
    absent.subscribe("queued", QoS::AtLeastOnce);
    drop(absent);
    let mut attacker = with_5(ground);
    ground.begin();
    let message = with_properties(message("queued", 0));
    let count = publish_acknowledged(ground, &mut attacker, &message, 340);
    keeps_limit(ground, count);
}

fn queue_identifiers(ground: &mut Ground) {
    let mut absent = Attacker::with(ground, durable_5("absent", 3600));
    let mut attacker = with_5(ground);
    ground.begin();
    for (number, topic_filter) in (1_u32..).zip(overlapping(LEVELS)) {
        let mut packet = subscribe([topic_filter], QoS::AtLeastOnce);
        if let PacketRef::Subscribe(subscribe) = &mut packet {
            subscribe.properties.subscription_identifier = SubscriptionIdentifier::new(number);
        }
        absent.push(&packet);
        if number % 100 == 0 {
            absent.flush();
        }
    }
    absent.ping(ground.time_left());
    drop(absent);
    let subscribed = ground.resident();
    let message = message("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", 0);
    let count = publish_acknowledged(ground, &mut attacker, &message, 1000);
    let grown = ground.resident().saturating_sub(subscribed);
    report_growth(ground, count, grown);
}

fn retain_properties(ground: &mut Ground) {
    let mut attacker = with_5(ground);
    ground.begin();
    for number in 0..340 {
        let message = with_properties(retained(&format!("kept/{number}"), 1));
        attacker.push(&PacketRef::Publish(
            message.publish(delivery(QoS::AtLeastOnce, number)),
        ));
        attacker.flush();
        attacker.read_until(ground.time_left(), |packet| {
            matches!(packet, PacketRef::Puback(_))
        });
    }
    keeps_limit(ground, 340);
}

fn with_5(ground: &Ground) -> Attacker {
    Attacker::with(ground, Connect::new(ProtocolVersion::V5_0, "attacker"))
}

/// Adds 60 kB of user properties.
fn with_properties(mut message: Message) -> Message {
    let properties = MessageProperties::new([Property::User("name", &"v".repeat(60_000))]);
    message.properties = Some(Box::new(properties.expect("valid")));
    message
}

/// Returns the memory that the broker has allocated since the attack began.
fn taken(ground: &Ground) -> u64 {
    ground.resident().saturating_sub(ground.before())
}

fn keeps_limit(ground: &mut Ground, count: usize) {
    let grown = taken(ground);
    report_growth(ground, count, grown);
}

fn report_growth(ground: &mut Ground, count: usize, grown: u64) {
    ground.fact(format!(
        "{count} messages acknowledged, {:.1} MB kept",
        grown as f64 / 1e6
    ));
    ground.expect(
        grown <= FACTOR * LIMIT + ROOM,
        "four times the limit and 4 MB are kept at most".to_owned(),
    );
}
