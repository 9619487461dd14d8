//! Commits of the broker, its crashes and its restarts. The broker writes no output before the changes that the output
//! depends on are durable. So after a crash all models go back to the last durable commit, as the broker does.

use std::time::Duration;

use mqtt_broker::Store;
use mqtt_broker_core::{InputProgress, Snapshot};

use crate::Violation;
use crate::client::SimClient;
use crate::sim_store::{TURN, broker, turn_of, turn_record};
use crate::simulation::Simulation;

/// The number of mutations by which a commit may exceed the limit of the backlog: those of packets that were being
/// handled, and of connections that ended.
const ABOVE_BACKLOG: usize = 16;

impl Simulation {
    /// Commits the mutations of the broker, if it has a store. On a slow disk the commit takes some steps; mutations
    /// that are recorded meanwhile are in the next commit.
    pub(crate) fn commit(&mut self) -> Result<(), Violation> {
        if self.store.is_none() {
            return Ok(());
        }
        self.begin_commit()?;
        let is_slow = !self.is_calm && self.rng.u8(0..100) < self.plan.slow_store;
        if is_slow { Ok(()) } else { self.end_commit() }
    }

    /// Begins a commit, unless one is in progress.
    pub(crate) fn begin_commit(&mut self) -> Result<(), Violation> {
        let Some(sim_store) = &mut self.store else {
            return Ok(());
        };
        if sim_store.committing.is_none() {
            let mut mutations = self.broker.take_mutations();
            if mutations.is_empty() && self.broker.has_mutations() {
                return Ok(()); // the mutations belong to a publication whose delivery is not finished
            }
            self.check_backlog(mutations.len())?;
            let Some(sim_store) = &mut self.store else {
                return Ok(());
            };
            if !mutations.is_empty() {
                mutations.push(turn_record(sim_store.turn));
                sim_store.committing = Some(mutations);
                self.broker.begin_commit();
            }
            self.note_commit()?;
        }
        Ok(())
    }

    /// Checks that the broker has recorded no more mutations than it may before a commit (I22).
    fn check_backlog(&self, mutations: usize) -> Result<(), Violation> {
        let Some(budget) = &self.plan.budget else {
            return Ok(());
        };
        let maximum = 2 * budget.backlog + ABOVE_BACKLOG;
        if mutations > maximum {
            let what = format!("{mutations} mutations wait for a commit, where {maximum} may");
            return Err(Violation::new("I22", what));
        }
        Ok(())
    }

    /// Finishes the commit in progress. The disk may fail during the commit.
    pub(crate) fn end_commit(&mut self) -> Result<(), Violation> {
        let Some(sim_store) = &mut self.store else {
            return Ok(());
        };
        let clock = sim_store.system.clock(self.now);
        if let Some(mutations) = sim_store.committing.take() {
            let (_, faults) = self.plan.store.unwrap_or_default();
            if !self.is_calm && self.rng.u32(0..1000) < faults {
                sim_store.disk.fail_after(self.rng.u32(0..30));
            }
            let turn = sim_store.turn;
            sim_store.turn += 1;
            let store = sim_store.store.as_mut();
            if store.is_none_or(|store| store.commit(&mutations, clock).is_err()) {
                let power_loss = self.rng.bool();
                self.note(|| "the store has failed".to_owned());
                return self.broker_fails(turn, power_loss);
            }
            self.broker.end_commit();
            // Comparing the whole store is slow, so only every 16th commit is compared.
            if turn % 16 == 0 && !self.broker.has_mutations() {
                self.check_store()?;
            }
        }
        self.clients.iter_mut().for_each(SimClient::end_commit);
        Ok(())
    }

    /// Checks that the store equals the state of the broker (I15).
    pub(crate) fn check_store(&self) -> Result<(), Violation> {
        let Some(sim_store) = &self.store else {
            return Ok(());
        };
        let Some(store) = &sim_store.store else {
            return Ok(());
        };
        let broken = |what: String| Violation::new("I15", what);
        // A planned failure must hit the broker, not this check, so the failure is postponed.
        let failure = sim_store.disk.postpone_failure();
        let saved = store.load(sim_store.system.clock(self.now));
        sim_store.disk.set_failure(failure);
        let mut saved = saved.map_err(|error| broken(with_cause(&error)))?;
        saved
            .retained
            .retain(|retained| &*retained.message.topic_name != TURN);
        let mut known = self.broker.save(self.now);
        known
            .retained
            .retain(|retained| &*retained.message.topic_name != TURN);
        if saved != known {
            let differs = saved
                .clients
                .iter()
                .zip(&known.clients)
                .find(|(a, b)| a != b);
            return Err(broken(format!(
                "the store differs from the broker: {differs:?}"
            )));
        }
        Ok(())
    }

    /// Records the models at the beginning of a commit. All output before the commit is checked first, because it
    /// changes the models.
    fn note_commit(&mut self) -> Result<(), Violation> {
        self.check_all_output()?;
        let now = self.now;
        let clients = self.clients.iter_mut();
        clients.for_each(|client| client.begin_commit(now));
        Ok(())
    }

    /// Restarts the broker after a commit has failed. The failed commit may be durable nevertheless: its turn record
    /// shows that.
    fn broker_fails(&mut self, turn: u64, power_loss: bool) -> Result<(), Violation> {
        self.crashes += 1;
        let saved = self.reopen(power_loss)?;
        if turn_of(&saved) == Some(turn) {
            self.clients.iter_mut().for_each(SimClient::end_commit);
        }
        self.restart(saved);
        Ok(())
    }

    /// Kills the process of the broker, between two commits or during one.
    pub(crate) fn broker_dies(&mut self, power_loss: bool) -> Result<(), Violation> {
        self.note(|| format!("the broker dies, power lost: {power_loss}"));
        self.crashes += 1;
        let saved = self.reopen(power_loss)?;
        self.restart(saved);
        Ok(())
    }

    /// Opens the store again after the process has ended, and loads its content (I15).
    pub(crate) fn reopen(&mut self, power_loss: bool) -> Result<Snapshot, Violation> {
        let Some(sim_store) = &mut self.store else {
            return Ok(Snapshot::default());
        };
        if power_loss {
            sim_store.disk.lose_power(&mut self.rng)
        } else {
            sim_store.disk.kill()
        }
        self.observer.time_passes(self.now);
        // Some time passes before the broker is started again.
        self.now += Duration::from_millis(self.rng.u64(0..3000));
        let Some(sim_store) = &mut self.store else {
            return Ok(Snapshot::default());
        };
        sim_store.system.goes_down(power_loss, &mut self.rng);
        let clock = sim_store.system.clock(self.now);
        let disk = sim_store.disk.clone();
        let open = || {
            let store = Store::with_backend(disk.clone(), clock);
            store.map_err(|error| Violation::new("I15", with_cause(&error)))
        };
        let load = |store: &Store| {
            let saved = store.load(clock);
            saved.map_err(|error| Violation::new("I15", with_cause(&error)))
        };
        // A process that was killed writes nothing, so the old store must not write when it is dropped.
        disk.fail_after(0);
        sim_store.store = None;
        disk.mend();
        // Recovery writes to the file. It must not change the content, so the store is opened twice and compared.
        let first = load(&open()?)?;
        let store = open()?;
        let second = load(&store)?;
        sim_store.store = Some(store);
        if first != second {
            return Err(Violation::new(
                "I15",
                "opened twice, the store has other content",
            ));
        }
        Ok(second)
    }

    /// Replaces the broker by a new one with the loaded content. All connections are lost.
    pub(crate) fn restart(&mut self, saved: Snapshot) {
        if let Some(sim_store) = &mut self.store {
            sim_store.committing = None;
        }
        for link in &mut self.links {
            link.connection = None;
            link.broker_input.clear();
            link.progress = InputProgress::Drained;
            // Bytes that the process had not read are lost with its sockets.
            link.up.clear();
            link.checked = 0;
            // Bytes that the broker wrote before its death may still arrive.
            let kept = self.rng.usize(0..=link.down.len());
            link.down.truncate(kept);
        }
        let now = self.now;
        for client in &mut self.clients {
            client.broker_restarts(now);
        }
        self.hostile_peers.iter_mut().for_each(|peer| peer.lose());
        let mut broker = broker(&self.plan);
        broker.record_mutations();
        broker.restore(now, saved);
        self.broker = broker;
        self.observer.connect(&mut self.broker, now);
    }
}

/// Returns the text of an error of the store with its cause.
fn with_cause(error: &mqtt_broker::StoreError) -> String {
    use std::error::Error;
    let cause = error.source().map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}
