//! [`WorkBudget`] counts the work that the core does in one call, and [`InputProgress`] tells the caller how far the
//! call got.
//!
//! Work is counted where it is done, in units of about a microsecond: a packet handled, a topic filter matched, a
//! subscription changed, a retained message sent, a copy of a message delivered (large payloads cost more). A call ends
//! after the piece of work that spends the budget, so no client can hold the loop for longer than that. Which connection is
//! served next is decided in the caller's loop; why a connection has to wait is decided in `throttle.rs`.

/// The progress of one [`Broker::handle_input`](crate::Broker::handle_input).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputProgress {
    /// Every whole packet was handled. The caller may read more bytes.
    Drained,
    /// The budget of the call is spent. The caller must call again in its next turn, with the same bytes, and read
    /// nothing more before.
    Yielded,
    /// The connection waits for something. The caller must not read from it until
    /// [`Broker::poll_resumable`](crate::Broker::poll_resumable) returns it.
    Blocked,
}

/// The payload bytes that count as one unit of work when a message is copied.
const BYTES_PER_UNIT: usize = 4096;

/// The work that a call may do, and the work that it has done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkBudget {
    limit: usize,
    spent: usize,
}

impl WorkBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, spent: 0 }
    }

    /// Counts work that is done now.
    pub(crate) fn spend(&mut self, units: usize) {
        self.spent = self.spent.saturating_add(units);
    }

    /// Spends the whole budget: the call must end after the current packet.
    pub(crate) fn exhaust(&mut self) {
        self.spent = self.spent.max(self.limit);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.spent >= self.limit
    }

    /// Returns the units spent so far, which may exceed the limit by one piece of work.
    pub(crate) fn spent(&self) -> usize {
        self.spent
    }
}

/// Returns the work of copying a payload of this length to one subscriber.
pub(crate) fn copy_cost(payload: usize) -> usize {
    1 + payload / BYTES_PER_UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_spent_when_the_limit_is_reached() {
        let mut budget = WorkBudget::new(3);
        budget.spend(2);
        assert!(!budget.is_spent());
        budget.spend(copy_cost(BYTES_PER_UNIT));
        assert!(budget.is_spent());
        assert_eq!(budget.spent(), 4);
    }
}
