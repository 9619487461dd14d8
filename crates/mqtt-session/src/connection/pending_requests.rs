//! [`PendingRequests`]: SUBSCRIBE and UNSUBSCRIBE of a client until the server answers them, and the timeout for the
//! answer. `commands.rs` sends the packets, and `receive.rs` handles the answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mqtt_codec::{PacketIdentifier, PacketType};

/// The requests without an answer, oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingRequests(VecDeque<PendingRequest>);

/// A SUBSCRIBE or UNSUBSCRIBE without an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingRequest {
    pub(super) packet_identifier: PacketIdentifier,
    /// Number of topic filters in the request, and of reason codes in its answer.
    pub(super) count: usize,
    /// Type of the answer.
    pub(super) response: PacketType,
    /// Number of output bytes up to the end of the request that are not written yet.
    pub(super) unwritten: usize,
    /// Start of the wait for the answer.
    pub(super) since: Instant,
}

impl PendingRequests {
    /// Adds the newest request.
    pub(super) fn push(&mut self, request: PendingRequest) {
        self.0.push_back(request);
    }

    /// Removes and returns the request with this packet identifier, if there is one.
    pub(super) fn take(&mut self, packet_identifier: PacketIdentifier) -> Option<PendingRequest> {
        let is_same = |request: &PendingRequest| request.packet_identifier == packet_identifier;
        let index = self.0.iter().position(is_same)?;
        self.0.remove(index)
    }

    /// Updates the requests after `count` bytes of the output were written.
    pub(super) fn handle_written(&mut self, now: Instant, count: usize) {
        if count == 0 {
            return;
        }
        for request in &mut self.0 {
            if request.unwritten > 0 {
                // A request may wait after a large message. The wait for its answer starts when the request is written.
                request.unwritten = request.unwritten.saturating_sub(count);
                request.since = now;
            }
        }
    }

    /// Restarts the wait for all answers.
    pub(super) fn restart_timeout(&mut self, now: Instant) {
        for request in &mut self.0 {
            request.since = now;
        }
    }

    /// Returns the time at which the oldest request must be answered.
    pub(super) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        // All requests have the same timeout, and the server answers in order. So only the oldest one matters.
        self.0.front().map(|request| request.since + timeout)
    }

    /// Returns the type of the answer that has not arrived in time, if there is one.
    pub(super) fn overdue(&self, now: Instant, timeout: Duration) -> Option<PacketType> {
        let oldest = self.0.front()?;
        (now >= oldest.since + timeout).then_some(oldest.response)
    }

    /// Returns `true` if a request uses this packet identifier.
    pub(super) fn contains(&self, packet_identifier: PacketIdentifier) -> bool {
        let is_same = |request: &PendingRequest| request.packet_identifier == packet_identifier;
        self.0.iter().any(is_same)
    }

    /// Returns the number of requests with a packet identifier up to `highest`.
    pub(super) fn count_up_to(&self, highest: PacketIdentifier) -> usize {
        let is_below = |request: &&PendingRequest| request.packet_identifier <= highest;
        self.0.iter().filter(is_below).count()
    }
}
