//! The line numbers of `rpub -l`, so that the report of `--report` can list the lines whose messages failed.

use std::collections::HashMap;
use std::sync::Arc;

use mqtt_client::EventLoop;
use mqtt_codec::{Message, PacketIdentifier};

use crate::commands::verdict::MAXIMUM_LINES;

/// The lines of the input and the state of their messages.
#[derive(Debug)]
pub(super) struct LineNumbers {
    /// The number of the last line that was read, from 1.
    last: u64,
    /// The lines of the messages in flight. `None` without `--report`, which saves an entry for each message.
    in_flight: Option<HashMap<PacketIdentifier, Line>>,
    /// The lines of messages of a lost session, which will be resent with other packet identifiers.
    waiting: Vec<Line>,
    /// The lines whose messages were rejected, could not be sent or could not be made, in the order of these failures.
    failed: Vec<u64>,
}

/// A line whose message the broker has not acknowledged.
#[derive(Debug)]
struct Line {
    number: u64,
    /// The message, which identifies the line when the packet identifier changes.
    message: Arc<Message>,
}

impl LineNumbers {
    pub(super) fn new(has_report: bool) -> Self {
        Self {
            last: 0,
            in_flight: has_report.then(HashMap::new),
            waiting: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Counts a line that was read from the input.
    pub(super) fn count(&mut self) {
        self.last += 1;
    }

    /// Returns the number of the last line.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Records that the message of the last line was sent with this packet identifier. A message of QoS 0 has none.
    pub(super) fn sent(&mut self, identifier: Option<PacketIdentifier>, message: &Arc<Message>) {
        if let (Some(in_flight), Some(identifier)) = (&mut self.in_flight, identifier) {
            let line = Line {
                number: self.last,
                message: Arc::clone(message),
            };
            in_flight.insert(identifier, line);
        }
    }

    /// Records the acknowledgement of a message. `is_error` is `true` if the broker rejected the message.
    pub(super) fn answered(&mut self, identifier: PacketIdentifier, is_error: bool) {
        let in_flight = self.in_flight.as_mut();
        let line = in_flight.and_then(|lines| lines.remove(&identifier));
        if let (Some(line), true) = (line, is_error) {
            self.add_failed(line.number);
        }
    }

    /// Records that the client does not resend a message, because the broker does not accept it.
    pub(super) fn given_up(&mut self, message: &Arc<Message>) {
        let is_it = |line: &Line| Arc::ptr_eq(&line.message, message);
        let in_flight = self.in_flight.iter_mut().flatten();
        let identifier = in_flight
            .filter(|(_, line)| is_it(line))
            .map(|(identifier, _)| *identifier)
            .next();
        if let Some(identifier) = identifier {
            self.answered(identifier, true);
        } else if let Some(index) = self.waiting.iter().position(is_it) {
            let line = self.waiting.swap_remove(index);
            self.add_failed(line.number);
        }
    }

    /// Records that no message could be made from the last line, or that its message could not be sent.
    pub(super) fn last_failed(&mut self) {
        self.add_failed(self.last);
    }

    /// Records that the broker has lost the session. The client resends the messages with other packet identifiers.
    pub(super) fn handle_lost_session(&mut self) {
        let in_flight = self.in_flight.iter_mut().flat_map(HashMap::drain);
        self.waiting.extend(in_flight.map(|(_, line)| line));
    }

    /// Finds the new packet identifiers of resent messages. This function must be called after each turn of the event
    /// loop, before the broker can acknowledge the first of these messages.
    pub(super) fn find_resent(&mut self, event_loop: &mut EventLoop) {
        let Some(in_flight) = self.in_flight.as_mut().filter(|_| !self.waiting.is_empty()) else {
            return;
        };
        let mut waiting: HashMap<_, _> = std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|line| (Arc::as_ptr(&line.message), line))
            .collect();
        for outgoing in event_loop.backlog() {
            self.waiting
                .extend(waiting.remove(&Arc::as_ptr(&outgoing.message)));
        }
        match event_loop.connection() {
            Some(connection) => {
                for (identifier, outgoing) in connection.session().sent() {
                    let resent = outgoing.map(|outgoing| Arc::as_ptr(&outgoing.message));
                    if let Some(line) = resent.and_then(|message| waiting.remove(&message)) {
                        in_flight.insert(identifier, line);
                    }
                }
                // Before the broker lost the session, it had received the messages that are left (PUBREC).
            }
            // The connection was lost again. The lines wait until the next one.
            None => self.waiting.extend(waiting.into_values()),
        }
    }

    /// Returns the first [`MAXIMUM_LINES`] lines that have failed or whose messages are not acknowledged.
    pub(super) fn first_failed(&self) -> Vec<u64> {
        let in_flight = self.in_flight.iter().flat_map(HashMap::values);
        let unknown = in_flight.chain(&self.waiting).map(|line| line.number);
        let mut lines: Vec<_> = self.failed.iter().copied().chain(unknown).collect();
        lines.sort_unstable();
        lines.truncate(MAXIMUM_LINES);
        lines
    }

    fn add_failed(&mut self, line: u64) {
        // The broker may reject messages in another order than that of their lines, so `failed` must be longer than the
        // list of the report. The first lines are selected after the last rejection.
        if self.failed.len() < 64 * MAXIMUM_LINES {
            self.failed.push(line);
        }
    }
}
