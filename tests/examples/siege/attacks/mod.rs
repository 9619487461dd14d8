//! The attacks, with one entry in a table for each.

mod attacker;
mod connections;
mod delivery;
mod filters;
mod logins;
mod memory;
mod records;
mod slow_links;
mod store;
mod websocket;

use crate::scenario::Scenario;

/// Returns all scenarios in the order of the table.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(records::scenarios());
    all.extend(websocket::scenarios());
    all.extend(filters::scenarios());
    all.extend(connections::scenarios());
    all.extend(logins::scenarios());
    all.extend(memory::scenarios());
    all.extend(store::scenarios());
    all.extend(slow_links::scenarios());
    all.extend(delivery::scenarios());
    all.sort_by_key(|scenario| order(scenario.name));
    all
}

/// Returns letter, number and suffix of a name such as `A3b`.
fn order(name: &str) -> (&str, u32, &str) {
    let (letter, rest) = name.split_at(1);
    let digits = rest.trim_end_matches(|c: char| !c.is_ascii_digit());
    let (number, suffix) = rest.split_at(digits.len());
    (letter, number.parse().unwrap_or(0), suffix)
}
