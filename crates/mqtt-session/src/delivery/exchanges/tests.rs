//! Tests of the memory that the exchanges use. `sender/tests.rs` tests their behaviour, which is the same in the queue and
//! in the map.

use super::*;

fn restore(identifiers: &[u16]) -> (usize, usize) {
    let exchange = |value: &u16| OutboundExchange {
        packet_identifier: PacketIdentifier::new(*value).unwrap(),
        state: OutboundState::Released,
        is_sent: false,
    };
    let exchanges = Exchanges::restore(identifiers.iter().map(exchange));
    let overtaken = exchanges.overtaken.as_ref();
    let in_map = overtaken.map_or(0, |overtaken| overtaken.exchanges.len());
    (exchanges.in_order.len(), in_map)
}

/// The map needs an allocation for each exchange.
#[test]
fn exchanges_within_one_turn_are_restored_without_the_map() {
    assert_eq!(restore(&[]), (0, 0));
    assert_eq!(restore(&[5, 6, 9]), (3, 0));
    assert_eq!(restore(&[65_534, 65_535, 1, 2]), (4, 0));
    // The identifier 3 was assigned one turn before the others.
    assert_eq!(restore(&[3, 1, 2, 3]), (3, 1));
    assert_eq!(restore(&[7, 65_535, 6, 8]), (3, 1));
}
