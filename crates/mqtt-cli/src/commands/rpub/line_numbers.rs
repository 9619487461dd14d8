//! The numbers of the input lines whose messages are in flight, so that a report can name the lines that failed.

use std::collections::HashMap;

use mqtt_codec::PacketIdentifier;

use crate::commands::verdict::MAXIMUM_LINES;

/// The lines of the input by the fate of their messages. The lines in flight are tracked only for a report: each costs an
/// entry in a map.
#[derive(Debug)]
pub(super) struct LineNumbers {
    /// The number of lines that were read, which is the number of the last one.
    last: u64,
    in_flight: Option<HashMap<PacketIdentifier, u64>>,
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

    /// Counts a line that was read.
    pub(super) fn count(&mut self) {
        self.last += 1;
    }

    /// Returns the number of the last line.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Records that the message of the last line was sent with this identifier.
    pub(super) fn sent(&mut self, identifier: Option<PacketIdentifier>) {
        if let (Some(in_flight), Some(identifier)) = (&mut self.in_flight, identifier) {
            in_flight.insert(identifier, self.last);
        }
    }

    /// Records the answer to a message.
    pub(super) fn answered(&mut self, identifier: PacketIdentifier, is_error: bool) {
        let in_flight = self.in_flight.as_mut();
        let line = in_flight.and_then(|lines| lines.remove(&identifier));
        if let (Some(line), true) = (line, is_error) {
            self.add_failed(line);
        }
    }

    /// Records that no message was made of the last line, or that it could not be sent.
    pub(super) fn last_failed(&mut self) {
        self.add_failed(self.last);
    }

    /// Forgets the lines in flight: a new session gives other identifiers to the messages.
    pub(super) fn forget(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.clear();
        }
    }

    /// Returns the first lines that failed, among them those in flight.
    pub(super) fn first_failed(&self) -> Vec<u64> {
        let in_flight = self.in_flight.iter().flat_map(HashMap::values);
        let mut lines: Vec<_> = self.failed.iter().chain(in_flight).copied().collect();
        lines.sort_unstable();
        lines.truncate(MAXIMUM_LINES);
        lines
    }

    fn add_failed(&mut self, line: u64) {
        // Answers may come in another order than the lines, so the first numbers are sorted out only at the end. The
        // bound is far beyond the window of a connection.
        if self.failed.len() < 64 * MAXIMUM_LINES {
            self.failed.push(line);
        }
    }
}
