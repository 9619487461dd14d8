//! The methods of [`Broker`] that belong to no connection: deadlines, background work, statistics and dumps.

use std::time::Instant;

use crate::background::{deferred, large_publications, sys_topics};
use crate::broker::Broker;
use crate::flow::backpressure;
use crate::flow::work::WorkBudget;
use crate::keys::TimerKey;
use crate::lifecycle::{expiry, stale_subscriptions};
use crate::log_lines::targets::EVENTS;
use crate::packets::input;
use crate::routing::{fan_out, own_messages, retain};
use crate::stats::dump::{self, Dump};
use crate::stats::value::Value;

impl Broker {
    /// Handles the deadlines that have passed, until the work budget of one connection is spent. If deadlines are left,
    /// `poll_timeout` returns a time that has passed, so that the caller calls again in its next turn.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.stats.log_limiter.handle_timeout(now);
        self.flow.work = WorkBudget::new(self.resources.limits.work_per_connection);
        while let Some(key) = self.next_timer(now) {
            self.flow.work.spend(1);
            match key {
                TimerKey::Connection(id) => {
                    if let Some(connection) = self.connections.get_mut(id) {
                        connection.scheduled = None;
                        if connection.is_unread() {
                            // The broker has not handled all bytes of the peer, so the peer has not missed its keep
                            // alive.
                            connection.protocol.handle_unread(now);
                        }
                        connection.protocol.handle_timeout(now);
                        input::handle_pending(self, now, id);
                    }
                }
                TimerKey::Retained => retain::sweep_retained(self, now),
                TimerKey::Client(key) => {
                    if let Some(client) = self.sessions.clients.get_mut(key) {
                        client.scheduled = None;
                        expiry::handle_client_timeout(self, now, key);
                    }
                }
            }
        }
        backpressure::end_backpressure(
            &mut self.connections,
            &self.sessions,
            &mut self.flow,
            &self.resources,
            now,
        );
    }

    /// Returns the owner of the next deadline that has passed, or `None` if no deadline has passed or the work budget
    /// is spent.
    fn next_timer(&mut self, now: Instant) -> Option<TimerKey> {
        if self.flow.work.is_spent() {
            None
        } else {
            self.flow.timers.pop(now)
        }
    }

    /// Returns the time at which the caller must call `handle_timeout`, or `None` if no deadline is pending.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.flow.timers.first(),
            self.stats.log_limiter.poll_timeout(),
            self.flow.throttle.first_backpressure_end(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Does the work of one turn that belongs to no connection: publishes deferred wills, continues large publications,
    /// and removes the subscriptions of sessions that have ended. The caller must call this once per turn, after the
    /// input.
    pub fn run_background(&mut self, now: Instant) {
        backpressure::end_backpressure(
            &mut self.connections,
            &self.sessions,
            &mut self.flow,
            &self.resources,
            now,
        );
        self.flow.work = WorkBudget::new(self.resources.limits.work_per_turn);
        deferred::handle_deferred(self, now);
        large_publications::advance_fan_outs(self, now);
        let fan_outs = self.flow.work.spent();
        // Stale subscriptions have a budget of their own. Otherwise large publications could spend the whole budget in
        // each turn, and the tree would keep subscriptions that match nobody.
        self.flow.work = WorkBudget::new(self.resources.limits.work_per_connection);
        stale_subscriptions::remove_stale_subscriptions(
            &mut self.topics,
            &mut self.flow,
            &mut self.stats,
        );
        // `work_done` must include the publications.
        self.flow.work.spend(fan_outs);
    }

    /// Returns `true` if `run_background` has work that it can do now. The caller must not wait for I/O then.
    pub fn has_background_work(&mut self) -> bool {
        !self.flow.background.stale_subscriptions.is_empty()
            || fan_out::has_fan_out_to_advance(&self.durability, &mut self.flow, &self.resources)
            || {
                !self.flow.background.deferred.is_empty()
                    && !fan_out::is_will_deferred(&self.durability, &mut self.flow, &self.resources)
            }
    }

    /// Publishes a line of the log to the subscribers of `topic_name`. In the queue of a client that is not connected
    /// the line expires after a short time.
    pub fn publish_log_line(&mut self, now: Instant, topic_name: &str, line: String) {
        own_messages::publish_log_line(self, now, topic_name, line)
    }

    /// Begins to log the subscriptions and the retained messages. Calls of `poll_dump` log the lines. Does nothing if a
    /// dump is in progress.
    pub fn begin_dump(&mut self) {
        if self.stats.dump.is_none() {
            log::info!(target: EVENTS, "Subscription tree:");
            self.stats.dump = Some(Dump::Subscriptions(None, Vec::new()));
        }
    }

    /// Logs the next lines of the dump, a limited number per call. Returns `true` if more lines are left.
    pub fn poll_dump(&mut self) -> bool {
        dump::poll_dump(&self.sessions, &self.topics, &mut self.stats.dump)
    }

    /// Publishes the values below `$SYS/broker` that have changed since the last call.
    pub fn publish_statistics(&mut self, now: Instant) {
        sys_topics::publish_statistics(self, now)
    }

    /// Returns each value of the status with its name, always in the same order. The uptime is in seconds. Rates are
    /// per minute, and date from the last call of [`Broker::publish_statistics`].
    pub fn statistics(&mut self, now: Instant) -> Vec<Value> {
        sys_topics::values(self, now)
    }
}
