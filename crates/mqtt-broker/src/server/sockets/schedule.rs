//! The order in which connections are served. A connection that spent its work budget the last time is heavy, all
//! others are light.
//!
//! In each turn the server serves all light connections, each with its own budget. Then it serves heavy connections,
//! one after the other, until the budget of the turn is spent; the next turn continues with the next heavy connection.
//! So a client that sends a PINGREQ waits for one turn at most, however many other clients keep the broker busy.

use std::collections::VecDeque;

/// The indexes of the sockets that must be read.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// The light connections, all of which are served in the next turn.
    light: Vec<usize>,
    /// The heavy connections, in the order in which they are served.
    heavy: VecDeque<usize>,
}

impl Schedule {
    /// Adds a socket, which must not be queued already.
    pub(crate) fn push(&mut self, index: usize, is_heavy: bool) {
        if is_heavy {
            self.heavy.push_back(index);
        } else {
            self.light.push(index);
        }
    }

    /// Removes and returns all light connections.
    pub(crate) fn take_light(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.light)
    }

    /// Removes and returns the next heavy connection.
    pub(crate) fn pop_heavy(&mut self) -> Option<usize> {
        self.heavy.pop_front()
    }

    /// Returns the number of heavy connections.
    pub(crate) fn heavy_count(&self) -> usize {
        self.heavy.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.light.is_empty() && self.heavy.is_empty()
    }
}
