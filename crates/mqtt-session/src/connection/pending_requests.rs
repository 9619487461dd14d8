//! [`PendingRequests`] is the list of SUBSCRIBE and UNSUBSCRIBE packets that the server has not answered, with the
//! timeout for the answers. `commands.rs` sends the packets, and `receive.rs` handles the answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mqtt_codec::{PacketIdentifier, PacketType};

/// Requests that the server has not answered, oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingRequests(VecDeque<PendingRequest>);

/// A SUBSCRIBE or UNSUBSCRIBE that the server has not answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingRequest {
    pub(super) packet_identifier: PacketIdentifier,
    /// Number of topic filters in the request. The answer should have as many reason codes.
    pub(super) count: usize,
    /// Type of the answer: SUBACK or UNSUBACK.
    pub(super) response: PacketType,
    /// Number of unwritten output bytes up to the end of the request, or 0 if the request has been written.
    pub(super) unwritten: usize,
    /// Time at which the wait for the answer started.
    pub(super) since: Instant,
}

impl PendingRequests {
    /// Adds a request, which is the newest.
    pub(super) fn push(&mut self, request: PendingRequest) {
        self.0.push_back(request);
    }

    /// Removes and returns the request with this packet identifier. Returns `None` if no request has it.
    pub(super) fn take(&mut self, packet_identifier: PacketIdentifier) -> Option<PendingRequest> {
        let is_same = |request: &PendingRequest| request.packet_identifier == packet_identifier;
        let index = self.0.iter().position(is_same)?;
        self.0.remove(index)
    }

    /// Records that `count` bytes of the output were written.
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

    /// Restarts the wait for the answers to all requests.
    pub(super) fn restart_timeout(&mut self, now: Instant) {
        for request in &mut self.0 {
            request.since = now;
        }
    }

    /// Returns the deadline of the oldest request, or `None` without a request.
    pub(super) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        // All requests have the same timeout, and a server answers them in order, so the oldest request has the first
        // deadline.
        self.0.front().map(|request| request.since + timeout)
    }

    /// Returns the type of the answer that is overdue at `now`, or `None`.
    pub(super) fn overdue(&self, now: Instant, timeout: Duration) -> Option<PacketType> {
        let oldest = self.0.front()?;
        (now >= oldest.since + timeout).then_some(oldest.response)
    }

    /// Returns `true` if an unanswered request uses this packet identifier.
    pub(super) fn contains(&self, packet_identifier: PacketIdentifier) -> bool {
        let is_same = |request: &PendingRequest| request.packet_identifier == packet_identifier;
        self.0.iter().any(is_same)
    }

    /// Returns the number of unanswered requests whose packet identifier is at most `highest`.
    pub(super) fn count_up_to(&self, highest: PacketIdentifier) -> usize {
        let is_below = |request: &&PendingRequest| request.packet_identifier <= highest;
        self.0.iter().filter(is_below).count()
    }
}
