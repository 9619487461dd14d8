//! The calm phase of a run: all exchanges finish without faults. The checks at the end of the run then require that no
//! message is missing.

use crate::Violation;
use crate::client::SimClient;
use crate::simulation::{GROUP, Simulation};
use crate::states::Subscriber;

/// The maximum number of steps until all exchanges have finished (I13).
const CALM_STEPS: u64 = 200_000;

/// The maximum number of wills that wait for the acknowledgements of the observer at the end of a run.
const MAXIMUM_WILLS: usize = 16;

impl Simulation {
    /// Runs steps without faults until `is_done` returns `true` (I13).
    pub(crate) fn settle(&mut self, is_done: impl Fn(&mut Self) -> bool) -> Result<(), Violation> {
        for count in 0..CALM_STEPS {
            if is_done(self) {
                return Ok(());
            }
            self.work()?;
            // Every 256 steps each link moves its bytes once. If no byte moves and the broker has no work, only a
            // deadline can change the state, so the simulated time advances to the next one.
            if count % 256 == 255 {
                let before = self.trace_hash;
                for index in 0..self.links.len().min(64) {
                    let index = index.min(self.links.len().saturating_sub(1));
                    if !self.links.is_empty() {
                        self.client_sends(index)?;
                        self.broker_sends(index)?;
                        self.broker_reads(index)?;
                        if index < self.links.len() {
                            self.client_reads(index)?;
                            self.remove_if_over(index);
                        }
                    }
                }
                if before == self.trace_hash && !self.has_work() {
                    self.pass_to_next_deadline();
                }
            }
        }
        let states: Vec<_> = self.clients.iter().map(SimClient::state).collect();
        Err(Violation::new(
            "I13",
            format!("not finished after {CALM_STEPS} steps: {states:?}"),
        ))
    }

    /// Returns `true` if no exchange, byte or request is waiting anywhere.
    pub(crate) fn is_quiet(&mut self) -> bool {
        !self.has_work() && self.is_at_rest()
    }

    fn is_at_rest(&self) -> bool {
        self.clients.iter().all(|client| {
            client.to_publish == 0
                && client.core.is_connected()
                && client.core.unfinished() == 0
                && client.core.output().is_empty()
                && client.application.pending.is_empty()
                && client.application.unanswered == 0
                && client.up.open() == 0
                && client.down.open() == 0
        }) && self.links.iter().all(|link| {
            !link.is_cut
                && link.up.is_empty()
                && link.broker_input.is_empty()
                && link.down.is_empty()
                && link.client_is_open
                && link
                    .connection
                    .is_some_and(|id| self.broker.whole_output(id).is_empty())
        })
    }

    /// Checks everything that must be true after the last exchange: deliveries, drops, states and wills.
    pub(crate) fn check_end(&mut self) -> Result<(), Violation> {
        let keeps = |client: &SimClient| client.plan.lasts && !client.plan.is_shared;
        let lasting = (0..self.clients.len()).filter(|index| keeps(&self.clients[*index]));
        // The members of the group count as one subscriber: each message must have reached one of them.
        let shares = self.clients.iter().any(|client| client.plan.is_shared);
        let lasting = lasting.chain(shares.then_some(GROUP));
        self.oracle.check_complete(
            lasting,
            |subscriber, key| self.guarantees(subscriber, key),
            |subscriber, key| {
                let queues = self.queues.as_ref();
                queues.is_some_and(|queues| queues.had_to_drop(subscriber, key))
            },
        )?;
        self.check_drops()?;
        for (index, client) in self.clients.iter().enumerate() {
            let subscriber = Subscriber {
                granted: client.plan.subscribed,
                subscribes_once: client.plan.subscribes_once,
            };
            if client.plan.states && !client.application.is_unsubscribed {
                let known = &client.application.states;
                self.states
                    .check(index, known, subscriber, self.crashes > 0)?;
            }
        }
        // Each acknowledgement of the observer may release the next will, and each release may need a commit.
        for _ in 0..MAXIMUM_WILLS {
            self.commit()?;
            self.observer.read(&mut self.broker, self.now)?;
            if !self.broker.has_mutations() {
                break;
            }
        }
        // With a store a will waits for its commit. With a small budget a will may wait for a later turn.
        let may_be_late = self.store.is_some() || self.plan.budget.is_some();
        for (index, client) in self.clients.iter_mut().enumerate() {
            client.wills.pass_time(self.now);
            self.observer.check(index, &client.wills, may_be_late)?;
        }
        Ok(())
    }

    /// Checks that no queue exceeded its limit, and that the broker has counted each dropped message (I20).
    fn check_drops(&mut self) -> Result<(), Violation> {
        let Some(queues) = &self.queues else {
            return Ok(());
        };
        queues.check()?;
        let dropped = queues.dropped();
        let values = self.broker.statistics(self.now);
        let counted = values
            .iter()
            .find(|value| value.name == "publish/messages/dropped");
        let counted = counted.and_then(|value| value.text.parse::<u64>().ok());
        let counted = counted.unwrap_or_default();
        // The broker also counts drops for hostile peers and for clients that do not keep their session. `Queues` does
        // not follow these.
        let is_exact = self.hostile_peers.is_empty() && self.clients.iter().all(|c| c.plan.lasts);
        if counted < dropped || is_exact && counted > dropped {
            let what = format!("{dropped} messages were dropped, and {counted} counted");
            return Err(Violation::new("I20", what));
        }
        Ok(())
    }
}
