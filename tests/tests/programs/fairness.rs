//! The broker serves other clients while one client asks for much work.

use tests::{Broker, RawClient};

use super::resource_limits::{bystander, packet, text};

/// Runs an attack. Returns the number of pings of another client that were answered before the end of the attack.
fn pings_during(broker: &Broker, attack: impl FnOnce() + Send + 'static) -> usize {
    let mut other = bystander(broker);
    let attack = std::thread::spawn(attack);
    let mut pings = 0;
    while !attack.is_finished() {
        other.ping();
        pings += 1;
    }
    attack.join().unwrap();
    pings
}

/// The broker must handle an attack in many pieces, and answer others between them.
const PIECES: usize = 20;

fn subscribe(filters: impl Iterator<Item = String>) -> Vec<u8> {
    let filters = filters.flat_map(|filter| [text(&filter), vec![0]].concat());
    packet(0x82, &[vec![0, 1], filters.collect()].concat())
}

/// Reads a SUBACK with this number of reason codes. Its fixed header has three bytes of length.
fn read_suback(client: &mut RawClient, count: usize) {
    assert_eq!(client.read(count + 6)[0], 0x90);
}

#[test]
fn other_clients_are_served_during_a_subscribe_that_repeats_a_filter() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "");
    let mut publisher = RawClient::connect(broker.address(), 4, "publisher");
    for number in 0..1000 {
        let topic = text(&format!("r/{number}"));
        publisher.send(&packet(0x31, &[&topic[..], b"x"].concat()));
    }
    publisher.ping();
    let mut client = RawClient::connect(broker.address(), 4, "greedy");
    let pings = pings_during(&broker, move || {
        let count = 400_000;
        client.send(&subscribe((0..count).map(|_| "#".to_owned())));
        read_suback(&mut client, count);
        // Each retained message is sent once.
        let messages = (0..1000).map(|n| 5 + format!("r/{n}").len()).sum();
        client.read(messages);
        client.ping();
    });
    assert!(pings > PIECES, "{pings}");
}

#[test]
fn other_clients_are_served_while_many_shared_subscriptions_begin_and_end() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "");
    let mut client = RawClient::connect(broker.address(), 4, "greedy");
    let pings = pings_during(&broker, move || {
        let count = 50_000;
        client.send(&subscribe((0..count).map(|n| format!("$share/{n}/a"))));
        read_suback(&mut client, count);
    });
    assert!(pings > PIECES, "{pings}");
    // The session of this client ended with its connection.
    let address = broker.address();
    let pings = pings_during(&broker, move || {
        (0..PIECES).for_each(|number| RawClient::connect(address, 4, &format!("{number}")).ping());
    });
    assert!(pings > PIECES, "{pings}");
}

#[test]
fn other_clients_are_served_between_messages_that_match_thousands_of_filters() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "");
    let mut greedy = RawClient::connect(broker.address(), 4, "greedy");
    const LEVELS: usize = 12;
    fn level(number: usize, bit: usize) -> &'static str {
        ["a", "+"][number >> bit & 1]
    }
    let filter = |number: usize| {
        let levels: Vec<_> = (0..LEVELS).map(|bit| level(number, bit)).collect();
        levels.join("/")
    };
    let count = 1 << LEVELS;
    greedy.send(&subscribe((0..count).map(filter)));
    assert_eq!(greedy.read(count + 5)[0], 0x90);
    let mut publisher = RawClient::connect(broker.address(), 4, "publisher");
    let pings = pings_during(&broker, move || {
        let message = packet(0x30, &[&text(&filter(0))[..], b"x"].concat());
        publisher.send(&message.repeat(200));
        publisher.ping();
    });
    assert!(pings > PIECES, "{pings}");
    let message = packet(0x30, &[&text(&filter(0))[..], b"x"].concat());
    assert_eq!(greedy.read(message.len() * 200), message.repeat(200));
}
