//! The bytes of a connection: how many packets are handled in one call, and what continues in the next one.

use std::time::Instant;

use mqtt_codec::Connect;
use mqtt_session::InputStep;

use crate::InputProgress;
use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::flow::work::WorkBudget;
use crate::packets::subscribe::{SubscribeTask, UnsubscribeTask};

/// A packet that is not handled completely. The connection's next packet is not handled before its end.
pub(crate) enum Task {
    /// A session that is to be stored waits for room in the commit queue.
    Connect(Box<Connect>),
    Subscribe(SubscribeTask),
    Unsubscribe(UnsubscribeTask),
}

impl Broker {
    /// Handles whole packets from the front of `input` until there is none, until the work that one connection may
    /// cause in one turn is done, or until the connection has to wait. The rest of `input` comes again.
    pub fn handle_input(
        &mut self,
        now: Instant,
        id: ConnectionId,
        input: &mut &[u8],
    ) -> InputProgress {
        let available = input.len();
        self.work = WorkBudget::new(self.limits.work_per_connection);
        self.congested = None; // by somebody else
        if let Some(connection) = self.connections.get_mut(id) {
            if connection.is_unread() {
                connection.protocol.handle_unread(now); // the peer was not silent, it was not heard
            }
        }
        let mut progress = self.handle_packets(now, id, input);
        if self.throttle_publisher(now, id) {
            progress = InputProgress::Blocked;
        }
        self.statistics.bytes_received += (available - input.len()) as u64;
        self.settle(id);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.progress = progress;
        }
        progress
    }

    fn handle_packets(
        &mut self,
        now: Instant,
        id: ConnectionId,
        input: &mut &[u8],
    ) -> InputProgress {
        loop {
            let Some(connection) = self.connections.get(id) else {
                return InputProgress::Drained;
            };
            if connection.task.is_some() {
                match self.continue_task(now, id) {
                    InputProgress::Drained => {}
                    unfinished => return unfinished,
                }
            }
            if self.must_wait(now, id, input) {
                return InputProgress::Blocked;
            }
            if self.work.is_spent() && !input.is_empty() {
                return InputProgress::Yielded;
            }
            let before = self.mutation_count();
            let Some(connection) = self.connections.get_mut(id) else {
                return InputProgress::Drained;
            };
            match connection.protocol.handle_packet_input(now, input) {
                InputStep::Idle => return InputProgress::Drained,
                InputStep::Handled => self.work.spend(1),
                InputStep::Event(event) => {
                    self.work.spend(1);
                    self.handle_event(now, id, event);
                    self.note_mutations_of(id, before);
                }
            }
        }
    }

    /// Handles what has happened to a connection without bytes: its end, or its time.
    pub(crate) fn handle_pending(&mut self, now: Instant, id: ConnectionId) {
        while let Some(connection) = self.connections.get_mut(id) {
            match connection.protocol.handle_packet_input(now, &mut &[][..]) {
                InputStep::Idle => break,
                InputStep::Handled => {}
                InputStep::Event(event) => self.handle_event(now, id, event),
            }
        }
        self.settle(id);
    }

    /// Continues the packet whose handling has begun, if there is one.
    #[cold]
    fn continue_task(&mut self, now: Instant, id: ConnectionId) -> InputProgress {
        let Some(connection) = self.connections.get_mut(id) else {
            return InputProgress::Drained;
        };
        let Some(task) = connection.task.take() else {
            return InputProgress::Drained;
        };
        let (false, key) = (connection.protocol.has_ended(), connection.client) else {
            return InputProgress::Drained;
        };
        let before = self.mutation_count();
        match (*task, key) {
            (Task::Connect(connect), _) => self.handle_connect(now, id, *connect),
            (Task::Subscribe(task), Some(key)) => self.continue_subscribe(now, id, key, task),
            (Task::Unsubscribe(task), Some(key)) => self.continue_unsubscribe(now, id, key, task),
            (Task::Subscribe(_) | Task::Unsubscribe(_), None) => {}
        }
        self.note_mutations_of(id, before);
        let connection = self.connections.get(id);
        match connection.is_some_and(|connection| connection.task.is_some()) {
            false => InputProgress::Drained,
            true if self.work.is_spent() => InputProgress::Yielded,
            true => InputProgress::Blocked,
        }
    }

    /// The rest of a packet is handled in the connection's next turns.
    pub(crate) fn put_off(&mut self, id: ConnectionId, task: Task) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.task = Some(Box::new(task));
        }
    }

    /// Records and schedules what has changed in a connection.
    pub(crate) fn settle(&mut self, id: ConnectionId) {
        let before = self.mutation_count();
        self.note_changes(id);
        self.note_mutations_of(id, before);
        self.mark_changed(id);
        self.schedule_connection(id);
    }
}
