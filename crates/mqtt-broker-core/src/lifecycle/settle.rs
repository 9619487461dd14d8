//! Updates the mutations, the list of changed connections and the timer after the packets of a connection were handled.

use crate::broker::Broker;
use crate::durability::record;
use crate::keys::ConnectionId;

/// Brings the state around a connection up to date after its packets were handled: the mutations of its exchanges, the
/// list of changed connections, and its timer.
pub(crate) fn settle(broker: &mut Broker, id: ConnectionId) {
    let before = broker.durability.mutation_count();
    record::note_changes(
        &mut broker.connections,
        &mut broker.sessions,
        &mut broker.durability,
        id,
    );
    broker
        .flow
        .throttle
        .note_mutations_of(&mut broker.connections, &broker.durability, id, before);
    // The keep alive may have moved, and the output may have grown.
    broker.connections.mark_changed(id);
    broker.connections.schedule(&mut broker.flow.timers, id);
}
