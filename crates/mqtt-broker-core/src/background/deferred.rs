//! Publishes the wills and ends the sessions that had to wait for the store. `lifecycle/expiry.rs` defers them.

use std::time::Instant;

use crate::broker::Broker;
use crate::lifecycle::expiry;
use crate::routing::fan_out;

/// Publishes the wills and ends the sessions of deferred clients until the budget is spent, or again too many mutations
/// wait for a commit.
pub(crate) fn handle_deferred(broker: &mut Broker, now: Instant) {
    while !broker.flow.work.is_spent()
        && !fan_out::is_will_deferred(&broker.durability, &mut broker.flow, &broker.resources)
    {
        let Some(key) = broker.flow.background.deferred.pop_first() else {
            return; // all were handled
        };
        broker.flow.work.spend(1);
        expiry::handle_client_timeout(broker, now, key);
    }
}
