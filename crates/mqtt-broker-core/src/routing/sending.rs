//! Sends the waiting messages of one client. They are taken from the client's queue and from its replays of retained
//! messages, and added to the output of its connection, while the window and the output have room (`sender.rs`).
//!
//! A call does a limited number of steps. `delivery.rs` decides which messages are queued, and
//! `sessions/retained_replays.rs` decides which retained messages a subscription receives.

use std::time::Instant;

use crate::broker::Broker;
use crate::connection::Connections;
use crate::durability::mutation::Mutation;
use crate::durability::record;
use crate::durability::state::Durability;
use crate::keys::{ClientKey, TimerKey};
use crate::routing::retained_replay;
use crate::routing::sender::{Note, Sending};
use crate::sessions::state::Sessions;

/// Maximum number of steps in one call. A step is a queued message or a retained message that is looked at.
const MAXIMUM_STEPS: usize = 1000;

/// Sends the messages that wait for a client, while its window and its output have room. Returns the number of steps.
/// If the steps of one call are spent, the client's timer is due immediately, and its handler sends the rest.
pub(crate) fn send_queue(broker: &mut Broker, now: Instant, key: ClientKey) -> usize {
    let Some(client) = broker.sessions.known_mut(key) else {
        return 0;
    };
    let connection = client
        .connection
        .and_then(|id| Some((id, broker.connections.get_mut(id)?)));
    let Some((id, connection)) = connection else {
        return 0; // the client is not connected, so its messages stay in the queue
    };
    // Usually no message waits after an acknowledgement.
    if client.queue.is_empty() && client.retained_replays.is_empty() {
        client.queue.allow_overflow_warning();
        return 0;
    }
    let before = client.queue.totals();
    let mut sending = Sending {
        now,
        client,
        connection: &mut connection.protocol,
        retained: &broker.topics.retained,
        policies: &broker.auth.policies,
        limits: &broker.resources.limits,
        drops: &mut broker.stats.counters.drops,
        log_limiter: &mut broker.stats.log_limiter,
        is_recorded: broker.durability.mutations.is_some(),
        steps: MAXIMUM_STEPS,
        sent: false,
        notes: Vec::new(),
    };
    sending.run();
    let Sending {
        steps, sent, notes, ..
    } = sending;
    client.queue.allow_overflow_warning();
    broker.flow.work.spend(MAXIMUM_STEPS - steps);
    broker
        .stats
        .counters
        .count_queue(before, client.queue.totals());
    // Other connections are served before the timer continues with the rest.
    if steps == 0 {
        client.resumes = Some(now);
        let deadline = client.deadline();
        broker
            .flow
            .timers
            .schedule(TimerKey::Client(key), deadline, &mut client.scheduled);
    }
    for note in notes {
        record_note(
            &mut broker.connections,
            &mut broker.sessions,
            &mut broker.durability,
            key,
            note,
        );
    }
    // The store needs the packet identifiers of the messages that were sent.
    if sent {
        record::note_changes(
            &mut broker.connections,
            &mut broker.sessions,
            &mut broker.durability,
            id,
        );
        broker.connections.mark_changed(id);
    }
    MAXIMUM_STEPS - steps
}

/// Makes the mutation of a note.
fn record_note(
    connections: &mut Connections,
    sessions: &mut Sessions,
    durability: &mut Durability,
    key: ClientKey,
    note: Note,
) {
    match note {
        Note::Queued(number, outgoing) => {
            record::note(connections, sessions, durability, key, |client| {
                Mutation::Queued {
                    client: client.identifier.clone(),
                    number,
                    outgoing,
                }
            })
        }
        Note::Finished(number) => record::note(connections, sessions, durability, key, |client| {
            Mutation::Finished {
                client: client.identifier.clone(),
                number,
            }
        }),
        Note::Replayed(topic_filter) => {
            retained_replay::record_replay(connections, sessions, durability, key, &topic_filter)
        }
        Note::ReplayEnded(topic_filter) => {
            retained_replay::note_replay_end(connections, sessions, durability, key, topic_filter)
        }
    }
}
