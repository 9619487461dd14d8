//! Handles the bytes of a connection: decides how many packets one call handles, calls the module of each packet, and
//! continues a packet that needs several turns.

use std::time::Instant;

use mqtt_codec::{Connect, ReasonCode};
use mqtt_session::{Event, InputStep};

use crate::broker::Broker;
use crate::flow::backpressure;
use crate::flow::work::{InputProgress, WorkBudget};
use crate::keys::{ConnectionId, TimerKey};
use crate::lifecycle::close;
use crate::packets::{connect, publish, subscribe, wait};
use crate::routing::sending;
use crate::routing::settle;
use crate::task::Task;

/// Calls the module that handles the packet or the end of the connection.
fn handle_event(broker: &mut Broker, now: Instant, id: ConnectionId, event: Event<'_>) {
    let client = broker
        .connections
        .get(id)
        .and_then(|connection| connection.client);
    match (event, client) {
        (Event::Connect(connect), _) => handle_connect(broker, now, id, *connect),
        (Event::Closed(reason), _) => close::handle_closed(broker, now, id, &reason),
        (Event::Message(received), Some(key)) => {
            publish::handle_message(broker, now, id, key, &received.publish());
        }
        (Event::Delivered { .. }, Some(key)) => {
            // The acknowledgement made room in the window for the next message of the queue.
            sending::send_queue(broker, now, key);
        }
        (Event::Subscribe(subscribe), Some(key)) => {
            subscribe::handle_subscribe(broker, now, id, key, subscribe);
        }
        (Event::Unsubscribe(unsubscribe), Some(key)) => {
            subscribe::handle_unsubscribe(broker, now, id, key, unsubscribe);
        }
        _ => {} // events of the client role, and events of a connection that has no client
    }
}

/// Handles a CONNECT. If too many connections wait for the check of their passwords, rejects one of them.
fn handle_connect(broker: &mut Broker, now: Instant, id: ConnectionId, connect: Connect) {
    if let Some(refused) = connect::handle_connect(broker, now, id, connect) {
        handle_checked(broker, now, refused, Err(ReasonCode::ServerBusy));
    }
}

/// Handles packets from the front of `input`, and advances `input` past them. Stops before the end if the rest is not a
/// whole packet, if the work budget of this call is spent, or if the connection must wait.
pub(crate) fn handle_input(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    input: &mut &[u8],
) -> InputProgress {
    let available = input.len();
    broker.flow.work = WorkBudget::new(broker.resources.limits.work_per_connection);
    broker.flow.congested = None; // the input of another connection may have set it
    let Some(connection) = broker.connections.get_mut(id) else {
        return InputProgress::Drained; // bytes that arrive late for a connection that was removed
    };
    if connection.is_unread() {
        connection.protocol.handle_unread(now); // restarts the keep alive: the broker had not read the bytes
    }
    let mut progress = handle_packets(broker, now, id, input);
    if backpressure::throttle_publisher(&mut broker.connections, &mut broker.flow, now, id) {
        progress = InputProgress::Blocked;
    }
    broker.stats.counters.bytes_received += (available - input.len()) as u64;
    settle::settle(broker, id);
    if let Some(connection) = broker.connections.known_mut(id) {
        connection.progress = progress;
    }
    progress
}

/// Handles packets until no whole packet is left, the budget is spent, or the connection must wait.
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
        // This check precedes the check of the budget. Otherwise a connection that must wait would return `Yielded`,
        // and the caller would call again in each turn.
        if wait::must_wait(broker, now, id, input) {
            return InputProgress::Blocked;
        }
        if broker.flow.work.is_spent() && !input.is_empty() {
            return InputProgress::Yielded;
        }
        // The mutations are counted for each packet, so that `must_wait` throttles this connection immediately after
        // the packet that makes the backlog too large.
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
                broker.flow.throttle.note_mutations_of(
                    &mut broker.connections,
                    &broker.durability,
                    id,
                    before,
                );
            }
        }
    }
}

/// Handles the events of a connection that are not caused by its bytes: the end of the connection, or a timeout.
pub(crate) fn handle_pending(broker: &mut Broker, now: Instant, id: ConnectionId) {
    while let Some(connection) = broker.connections.get_mut(id) {
        match connection.protocol.handle_packet_input(now, &mut &[][..]) {
            InputStep::Idle => break,
            InputStep::Handled => {}
            InputStep::Event(event) => handle_event(broker, now, id, event),
        }
    }
    settle::settle(broker, id);
}

/// Continues the task of the connection, if there is one. Returns `Drained` if the task is finished.
#[cold]
fn continue_task(broker: &mut Broker, now: Instant, id: ConnectionId) -> InputProgress {
    let Some(connection) = broker.connections.known_mut(id) else {
        return InputProgress::Drained;
    };
    let Some(task) = connection.task.take() else {
        return InputProgress::Drained;
    };
    // After the end of the connection nobody waits for the answer.
    let (false, key) = (connection.protocol.has_ended(), connection.client) else {
        return InputProgress::Drained;
    };
    let before = broker.durability.mutation_count();
    match (*task, key) {
        (Task::Connect(connect), _) => handle_connect(broker, now, id, *connect),
        (Task::Filters(task), Some(key)) => subscribe::continue_filters(broker, now, id, key, task),
        (Task::Filters(_), None) => {}
    }
    broker
        .flow
        .throttle
        .note_mutations_of(&mut broker.connections, &broker.durability, id, before);
    let connection = broker.connections.get(id);
    // A task that is not finished has either spent the budget, or waits for a commit.
    match connection.is_some_and(|connection| connection.task.is_some()) {
        false => InputProgress::Drained,
        true if broker.flow.work.is_spent() => InputProgress::Yielded,
        true => InputProgress::Blocked,
    }
}

/// Handles the result of a password check: accepts the client, or rejects CONNECT with the reason code.
pub(crate) fn handle_checked(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    result: Result<(), ReasonCode>,
) {
    let connection = broker.connections.get_mut(id);
    if let Some(connect) = connection.and_then(|connection| connection.pending_connect.take()) {
        match result {
            Ok(()) => connect::accept(broker, now, id, *connect),
            Err(reason_code) => connect::refuse(
                &mut broker.connections,
                &mut broker.stats,
                now,
                id,
                &connect,
                reason_code,
            ),
        }
        handle_pending(broker, now, id);
        // The packets that the client sent after CONNECT have waited.
        broker.flow.throttle.resume(&mut broker.connections, id);
    }
}

/// Handles the end of the network connection.
pub(crate) fn handle_close(broker: &mut Broker, now: Instant, id: ConnectionId) {
    if let Some(connection) = broker.connections.get_mut(id) {
        connection.protocol.handle_close();
        broker.flow.work = WorkBudget::new(broker.resources.limits.work_per_connection);
        handle_pending(broker, now, id);
    }
}

/// Removes a connection whose socket is closed.
pub(crate) fn remove(broker: &mut Broker, now: Instant, id: ConnectionId) {
    // This moves the session from the connection to the client. Otherwise the session would be dropped with the
    // connection.
    handle_close(broker, now, id);
    if let Some(connection) = broker.connections.remove(id) {
        broker
            .flow
            .timers
            .cancel(TimerKey::Connection(id), connection.scheduled);
        broker.stats.counters.ended_traffic += connection.protocol.traffic();
        broker
            .stats
            .counters
            .count_output(connection.counted_output, 0);
    }
}
