//! The order in which connections are served. A connection that spent its work budget the last time is heavy, all
//! others are light.
//!
//! In each turn the server serves all light connections, each with its own budget. Then it serves heavy connections,
//! one after the other, until the budget of the turn is spent; the next turn continues with the next heavy connection.
//! So a client that sends a PINGREQ waits for one turn at most, however many other clients keep the broker busy.

use std::collections::VecDeque;
use std::time::Instant;

use super::Server;

/// The indexes of the sockets that must be read.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The light connections, all of which are served in the next turn.
    light: Vec<usize>,
    /// The heavy connections, in the order in which they are served.
    heavy: VecDeque<usize>,
}

impl Schedule {
    pub(super) fn is_empty(&self) -> bool {
        self.light.is_empty() && self.heavy.is_empty()
    }
}

impl Server {
    /// Queues a socket to be read, unless it is queued already.
    pub(super) fn read_again(&mut self, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else {
            return;
        };
        if std::mem::replace(&mut socket.is_queued, true) {
            return;
        }
        match socket.is_heavy {
            true => self.schedule.heavy.push_back(index),
            false => self.schedule.light.push(index),
        }
    }

    /// Serves the connections of this turn.
    pub(super) fn serve(&mut self, now: Instant) {
        self.resume_connections();
        // Sockets that `read` queues again are served in the next turn.
        for index in std::mem::take(&mut self.schedule.light) {
            self.read(now, index);
        }
        self.serve_heavy(now);
        self.broker.run_background(now);
    }

    /// Returns `true` if work is left that needs no further event. The loop must not wait then.
    pub(super) fn has_work(&mut self) -> bool {
        !self.schedule.is_empty()
            || !self.accepting.is_empty()
            || !self.writable.is_empty()
            || self.broker.has_background_work()
    }

    /// Serves heavy connections while the budget of the turn lasts, and at least one in each turn.
    fn serve_heavy(&mut self, now: Instant) {
        let mut left = self.broker.work_per_turn();
        // Each heavy connection is served once per turn at most: `read` may queue it again at the end.
        for _ in 0..self.schedule.heavy.len() {
            let Some(index) = self.schedule.heavy.pop_front() else {
                return;
            };
            self.read(now, index);
            let done = self.broker.work_done();
            if done >= left {
                return;
            }
            left -= done;
        }
    }

    /// Queues the connections that have waited and may resume now.
    pub(super) fn resume_connections(&mut self) {
        while let Some(id) = self.broker.poll_resumable() {
            if let Some(index) = self.sockets.index_of(id) {
                self.read_again(index);
            }
        }
    }
}
