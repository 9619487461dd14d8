//! A graceful stop of the broker: the broker disconnects its clients, commits all mutations, and ends. No message that
//! the broker has read is lost, not even of QoS 0, and no will (I12, I18, I21).

use crate::Violation;
use crate::client::SimClient;
use crate::simulation::Simulation;

/// The maximum number of turns of a graceful stop.
const MAXIMUM_TURNS: usize = 1000;

impl Simulation {
    /// Stops the broker gracefully and starts it again. The machine may lose power after the stop.
    pub(crate) fn broker_stops(&mut self) -> Result<(), Violation> {
        self.note(|| "the broker stops".to_owned());
        self.broker.shut_down(self.now);
        self.is_stopping = true;
        let result = self.write_last();
        self.is_stopping = false;
        if !result? {
            return Ok(()); // the disk has failed, so this was a crash
        }
        let clients = self.clients.iter_mut();
        clients.for_each(SimClient::end_commit);
        let power_loss = self.rng.bool();
        let saved = self.reopen(power_loss)?;
        self.stops += 1;
        self.restart(saved);
        Ok(())
    }

    /// Commits all mutations and writes the output. Returns `false` if the disk failed, which makes the stop a crash.
    fn write_last(&mut self) -> Result<bool, Violation> {
        let crashes = self.crashes;
        // Several commits may be necessary: the one in progress, one for each publication that is still delivered in
        // slices, and a last one.
        for turn in 0..MAXIMUM_TURNS {
            self.background()?;
            self.begin_commit()?;
            self.end_commit()?;
            if self.crashes > crashes {
                return Ok(false);
            }
            let has_more = self.broker.has_mutations() || self.broker.has_background_work();
            if turn > 0 && !has_more {
                break;
            }
        }
        if self.broker.has_mutations() {
            let what = "mutations are left after the last commit of a graceful stop";
            return Err(Violation::new("I21", what));
        }
        self.check_store()?;
        for index in 0..self.links.len() {
            self.broker_sends(index)?;
        }
        Ok(true)
    }
}
