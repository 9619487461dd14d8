//! Reads arbitrary values of the store. A value is rejected as corrupt, or can be written and read again.

use std::time::{Duration, Instant, SystemTime};

use mqtt_broker::{Clock, Store};

/// Reads a value. The first byte of the input selects the table, and the rest is the value.
///
/// # Panics
/// If a value differs after it was written and read again.
pub fn store(input: &[u8]) {
    let Some((table, value)) = input.split_first() else {
        return;
    };
    let tables = [
        "clients",
        "deliveries",
        "retained",
        "subscriptions",
        "messages",
    ];
    let table = tables[usize::from(*table) % tables.len()];
    let clock = Clock {
        now: Instant::now(),
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000),
        boot: None,
    };
    // The written form may differ from an arbitrary input, so only two written forms are compared.
    let Ok(written) = Store::rewrite_value(table, value, clock) else {
        return;
    };
    let again = Store::rewrite_value(table, &written, clock);
    assert_eq!(again.expect("what was written can be read"), written);
}
