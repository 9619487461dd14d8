//! Updates the mutations, the list of changed connections and the timer after the packets of a connection were handled.

use crate::broker::Broker;
use crate::durability::record;
use crate::keys::ConnectionId;

/// Updates the state that depends on a connection after its packets were handled: the mutations of its exchanges, the
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
    // The deadline of the keep alive may be later now, and the output may be longer.
    broker.connections.mark_changed(id);
    broker.connections.schedule(&mut broker.flow.timers, id);
}
