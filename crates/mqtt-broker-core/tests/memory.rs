//! Measures the allocated bytes of the core for the subscriptions of a client, in relation to the bytes that the client
//! has sent.

use std::time::Instant;

use mqtt_broker_core::{Broker, ConnectionId, InputProgress, Limits};
use mqtt_codec::*;

/// The size of the SUBSCRIBE packet in bytes, slightly below the default `max_packet_size`.
const SENT: usize = 1_990_000;

struct World {
    broker: Broker,
    id: ConnectionId,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut broker = Broker::new(Limits::default(), Box::new(|| 7));
        let id = broker.open(now, "peer".into(), 0);
        let mut world = Self { broker, id, now };
        let connect = Connect::new(ProtocolVersion::V5_0, "subscriber");
        world.send(&encoded(&PacketRef::Connect(Box::new(connect))));
        world
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        while self.broker.handle_input(self.now, self.id, &mut input) == InputProgress::Yielded {}
        assert!(input.is_empty());
        let output = self.broker.output(self.id).len();
        self.broker.consume_output(self.now, self.id, output);
    }
}

fn encoded(packet: &PacketRef<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet
        .encode(ProtocolVersion::V5_0, u32::MAX, &mut bytes)
        .unwrap();
    bytes
}

fn subscribe(filters: &[TopicFilter]) -> Vec<u8> {
    let subscription = |topic_filter: &TopicFilter| Subscription {
        topic_filter: topic_filter.clone(),
        options: SubscriptionOptions::new(QoS::AtMostOnce),
    };
    encoded(&PacketRef::Subscribe(Subscribe {
        packet_identifier: PacketIdentifier::FIRST,
        subscriptions: filters.iter().map(subscription).collect(),
        properties: SubscribeProperties::default(),
    }))
}

fn unsubscribe(filters: &[TopicFilter]) -> Vec<u8> {
    encoded(&PacketRef::Unsubscribe(Unsubscribe {
        packet_identifier: PacketIdentifier::FIRST,
        topic_filters: filters.to_vec(),
        properties: UnsubscribeProperties::default(),
    }))
}

/// Subscribes to many filters. Checks that at most `most` bytes stay allocated for each byte of SUBSCRIBE, and that
/// UNSUBSCRIBE frees them.
#[track_caller]
fn check_subscriptions(filter: impl Fn(usize) -> String, most: f64) {
    let mut filters = Vec::new();
    let mut length = 0;
    while length < SENT && filters.len() < 100_000 {
        let filter = TopicFilter::new(&filter(filters.len())).unwrap();
        length += filter.len() + 3;
        filters.push(filter);
    }
    let (mut world, bytes) = (World::new(), subscribe(&filters));
    let taken = allocation_counter::measure(|| world.send(&bytes));
    let each = taken.bytes_current as f64 / bytes.len() as f64;
    assert!(each > 1.0, "the packet was rejected");
    assert!(each <= most, "{each} bytes for each of {}", bytes.len());
    let bytes = unsubscribe(&filters);
    let given_back = allocation_counter::measure(|| world.send(&bytes));
    let left = (taken.bytes_current + given_back.bytes_current) as f64;
    let share = left / taken.bytes_current as f64;
    assert!(share < 0.1, "{share} of it stays");
}

/// Returns a number whose bits look random, and that is different for each `number`.
fn scatter(number: usize) -> u128 {
    let number = number as u128 + 1;
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
}

#[test]
fn filters_of_200_levels_cost_a_few_times_their_bytes() {
    check_subscriptions(|number| format!("{number}{}", "/a".repeat(199)), 3.0);
    check_subscriptions(|number| format!("{}{number}", "a/".repeat(199)), 3.0);
}

#[test]
fn filters_that_branch_at_many_levels_cost_a_few_times_their_bytes() {
    let filter = |number: usize| {
        let bits = scatter(number);
        let levels = (0..128).map(|bit| if bits >> bit & 1 == 0 { "0" } else { "1" });
        levels.collect::<Vec<_>>().join("/")
    };
    check_subscriptions(filter, 10.0);
}

#[test]
fn short_filters_cost_at_most_ten_times_their_bytes() {
    check_subscriptions(|number| format!("home/room{number:06}/t"), 10.0);
    check_subscriptions(|number| format!("{:016x}", scatter(number) as u64), 10.0);
    check_subscriptions(|number| format!("$share/{number:06}/a/b/c"), 10.0);
}
