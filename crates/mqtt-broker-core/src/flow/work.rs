//! [`WorkBudget`] counts the work of one call of the core. [`InputProgress`] is the result of a call that handled
//! input.
//!
//! The code that does a piece of work counts it, in units of about a microsecond: a packet handled, a topic filter
//! matched, a subscription changed, a retained message sent, a copy of a message delivered. A copy of a large payload
//! counts more units. A call ends after the piece of work that spends its budget, so the packets of one client cannot
//! delay the others for longer than a budget takes.
//!
//! The caller's loop decides which connection is served next, and `packets/wait.rs` decides if a connection must wait.

/// The progress of one [`Broker::handle_input`](crate::Broker::handle_input).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputProgress {
    /// The broker has handled every whole packet. The caller may read more bytes.
    Drained,
    /// The budget of the call is spent. The caller must call again in its next turn with the bytes that are left, and
    /// must not read from the connection before that call.
    Yielded,
    /// The connection must wait. The caller must not read from the connection until
    /// [`Broker::poll_resumable`](crate::Broker::poll_resumable) returns the connection.
    Blocked,
}

/// Number of payload bytes whose copy counts as one unit of work, in addition to the unit of each delivery.
const BYTES_PER_UNIT: usize = 4096;

/// The units of work that a call may do, and the units that the call has done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkBudget {
    limit: usize,
    spent: usize,
}

impl WorkBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, spent: 0 }
    }

    /// Counts work that is done now. The sum may exceed the limit, because a piece of work is not interrupted.
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

    /// Returns the units spent so far.
    pub(crate) fn spent(&self) -> usize {
        self.spent
    }
}

/// Returns the units of work for the delivery of a payload of this length to one subscriber.
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
