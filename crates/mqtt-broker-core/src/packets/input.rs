//! The bytes of a connection: how many packets are handled in one call, and what continues in the next one.

use std::time::Instant;

use mqtt_codec::Connect;
use mqtt_session::{Event, InputStep};

use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::durability::mutation;
use crate::flow::work::{InputProgress, WorkBudget};
use crate::flow::{backpressure, throttle};
use crate::packets::subscribe::{SubscribeTask, UnsubscribeTask};
use crate::packets::{close, connect, publish, subscribe};
use crate::routing::sending;
use crate::timers;

/// A packet that is not handled completely. The connection's next packet is not handled before its end.
pub(crate) enum Task {
    /// A session that is to be stored waits for room in the commit queue.
    Connect(Box<Connect>),
    Subscribe(SubscribeTask),
    Unsubscribe(UnsubscribeTask),
}

fn handle_event(broker: &mut Broker, now: Instant, id: ConnectionId, event: Event<'_>) {
    let client = broker
        .connections
        .get(id)
        .and_then(|connection| connection.client);
    match (event, client) {
        (Event::Connect(connect), _) => connect::handle_connect(broker, now, id, *connect),
        (Event::Closed(reason), _) => close::handle_closed(broker, now, id, &reason),
        (Event::Message(received), Some(key)) => {
            publish::handle_message(broker, now, id, key, &received.publish());
        }
        (Event::Delivered { .. }, Some(key)) => {
            sending::send_queue(broker, now, key);
        }
        (Event::Subscribe(subscribe), Some(key)) => {
            subscribe::handle_subscribe(broker, now, id, key, subscribe);
        }
        (Event::Unsubscribe(unsubscribe), Some(key)) => {
            subscribe::handle_unsubscribe(broker, now, id, key, unsubscribe);
        }
        _ => {} // the events of the client role, and those of a connection without a client
    }
}

/// Does the work of [`Broker::handle_input`].
pub(crate) fn handle_input(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    input: &mut &[u8],
) -> InputProgress {
    let available = input.len();
    broker.flow.work = WorkBudget::new(broker.resources.limits.work_per_connection);
    broker.flow.congested = None; // another connection has caused it
    let Some(connection) = broker.connections.get_mut(id) else {
        return InputProgress::Drained; // bytes that arrive late for a connection that was removed
    };
    if connection.is_unread() {
        connection.protocol.handle_unread(now); // the peer was not silent: its bytes were not read
    }
    let mut progress = handle_packets(broker, now, id, input);
    if backpressure::throttle_publisher(&mut broker.connections, &mut broker.flow, now, id) {
        progress = InputProgress::Blocked;
    }
    broker.stats.counters.bytes_received += (available - input.len()) as u64;
    settle(broker, id);
    if let Some(connection) = broker.connections.known_mut(id) {
        connection.progress = progress;
    }
    progress
}

fn handle_packets(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    input: &mut &[u8],
) -> InputProgress {
    loop {
        let Some(connection) = broker.connections.known(id) else {
            return InputProgress::Drained;
        };
        if connection.task.is_some() {
            match continue_task(broker, now, id) {
                InputProgress::Drained => {}
                unfinished => return unfinished,
            }
        }
        if throttle::must_wait(broker, now, id, input) {
            return InputProgress::Blocked;
        }
        if broker.flow.work.is_spent() && !input.is_empty() {
            return InputProgress::Yielded;
        }
        let before = broker.durability.mutation_count();
        let Some(connection) = broker.connections.known_mut(id) else {
            return InputProgress::Drained;
        };
        match connection.protocol.handle_packet_input(now, input) {
            InputStep::Idle => return InputProgress::Drained,
            InputStep::Handled => broker.flow.work.spend(1),
            InputStep::Event(event) => {
                broker.flow.work.spend(1);
                handle_event(broker, now, id, event);
                throttle::note_mutations_of(
                    &mut broker.connections,
                    &broker.durability,
                    &broker.flow,
                    id,
                    before,
                );
            }
        }
    }
}

/// Handles events of a connection that no bytes have caused: its end, or a timeout.
pub(crate) fn handle_pending(broker: &mut Broker, now: Instant, id: ConnectionId) {
    while let Some(connection) = broker.connections.get_mut(id) {
        match connection.protocol.handle_packet_input(now, &mut &[][..]) {
            InputStep::Idle => break,
            InputStep::Handled => {}
            InputStep::Event(event) => handle_event(broker, now, id, event),
        }
    }
    settle(broker, id);
}

/// Continues the packet whose handling has begun, if there is one.
#[cold]
fn continue_task(broker: &mut Broker, now: Instant, id: ConnectionId) -> InputProgress {
    let Some(connection) = broker.connections.known_mut(id) else {
        return InputProgress::Drained;
    };
    let Some(task) = connection.task.take() else {
        return InputProgress::Drained;
    };
    let (false, key) = (connection.protocol.has_ended(), connection.client) else {
        return InputProgress::Drained;
    };
    let before = broker.durability.mutation_count();
    match (*task, key) {
        (Task::Connect(connect), _) => connect::handle_connect(broker, now, id, *connect),
        (Task::Subscribe(task), Some(key)) => {
            subscribe::continue_subscribe(broker, now, id, key, task)
        }
        (Task::Unsubscribe(task), Some(key)) => {
            subscribe::continue_unsubscribe(broker, now, id, key, task)
        }
        (Task::Subscribe(_) | Task::Unsubscribe(_), None) => {}
    }
    throttle::note_mutations_of(
        &mut broker.connections,
        &broker.durability,
        &broker.flow,
        id,
        before,
    );
    let connection = broker.connections.get(id);
    match connection.is_some_and(|connection| connection.task.is_some()) {
        false => InputProgress::Drained,
        true if broker.flow.work.is_spent() => InputProgress::Yielded,
        true => InputProgress::Blocked,
    }
}

/// Records and schedules what has changed in a connection.
pub(crate) fn settle(broker: &mut Broker, id: ConnectionId) {
    let before = broker.durability.mutation_count();
    mutation::note_changes(
        &mut broker.connections,
        &mut broker.sessions,
        &mut broker.durability,
        id,
    );
    throttle::note_mutations_of(
        &mut broker.connections,
        &broker.durability,
        &broker.flow,
        id,
        before,
    );
    broker.connections.mark_changed(id);
    timers::schedule_connection(&mut broker.connections, &mut broker.flow, id);
}
