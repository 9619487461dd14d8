//! The line numbers of `rpub -l`, so that the report of `--report` can list the lines whose messages failed.

use std::collections::HashMap;

use mqtt_codec::PacketIdentifier;

use crate::commands::verdict::MAXIMUM_LINES;

/// The lines of the input and the state of their messages.
#[derive(Debug)]
pub(super) struct LineNumbers {
    /// The number of the last line that was read, from 1.
    last: u64,
    /// The line of each message in flight. `None` without `--report`, which saves an entry for each message.
    in_flight: Option<HashMap<PacketIdentifier, u64>>,
    /// The lines whose messages were rejected, could not be sent or could not be made, in the order of these failures.
    failed: Vec<u64>,
}

impl LineNumbers {
    pub(super) fn new(has_report: bool) -> Self {
        Self {
            last: 0,
            in_flight: has_report.then(HashMap::new),
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
    pub(super) fn sent(&mut self, identifier: Option<PacketIdentifier>) {
        if let (Some(in_flight), Some(identifier)) = (&mut self.in_flight, identifier) {
            in_flight.insert(identifier, self.last);
        }
    }

    /// Records the acknowledgement of a message. `is_error` is `true` if the broker rejected the message.
    pub(super) fn answered(&mut self, identifier: PacketIdentifier, is_error: bool) {
        let in_flight = self.in_flight.as_mut();
        let line = in_flight.and_then(|lines| lines.remove(&identifier));
        if let (Some(line), true) = (line, is_error) {
            self.add_failed(line);
        }
    }

    /// Records that the message of the last line could not be made or sent.
    pub(super) fn last_failed(&mut self) {
        self.add_failed(self.last);
    }

    /// Removes all lines in flight. Without a session at the broker, the client resends the messages with other packet
    /// identifiers, and the numbers of their lines are lost.
    pub(super) fn forget(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.clear();
        }
    }

    /// Returns the first [`MAXIMUM_LINES`] lines that have failed or whose messages are still in flight.
    pub(super) fn first_failed(&self) -> Vec<u64> {
        let in_flight = self.in_flight.iter().flat_map(HashMap::values);
        let mut lines: Vec<_> = self.failed.iter().chain(in_flight).copied().collect();
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
