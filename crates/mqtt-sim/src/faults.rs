//! The faults of a run: cuts and stalls of links, clients that leave or die, and crashes and stops of the broker. The
//! passing of time is here too, because it fires the timers that faults have left.

use std::time::{Duration, Instant};

use mqtt_client::ClientError;
use mqtt_session::CloseReason;

use crate::Violation;
use crate::simulation::Simulation;

impl Simulation {
    /// Injects each kind of fault with the chance that the plan gives, and then runs one step.
    pub(crate) fn faulty_step(&mut self) -> Result<(), Violation> {
        if self.rng.u32(0..10_000) < self.plan.cuts {
            self.cut();
        }
        if self.rng.u32(0..10_000) < self.plan.stalls {
            self.stall();
        }
        if self.rng.u32(0..10_000) < self.plan.leaves {
            self.leave()?;
        }
        if self.rng.u32(0..10_000) < self.plan.crashes {
            self.crash()?;
        }
        if let Some((crashes, _)) = self.plan.store {
            if self.rng.u32(0..10_000) < self.plan.stops {
                self.broker_stops()?;
            }
            if self.rng.u32(0..10_000) < crashes {
                let power_loss = self.rng.bool();
                self.broker_dies(power_loss)?;
            }
        }
        self.work()
    }

    /// Cuts a random link.
    fn cut(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let index = self.rng.usize(0..self.links.len());
        let (keep_up, keep_down) = (
            self.rng.usize(0..=self.links[index].up.len()),
            self.rng.usize(0..=self.links[index].down.len()),
        );
        let link = &mut self.links[index];
        if link.is_cut {
            return;
        }
        link.is_cut = true;
        // TCP delivers a prefix of the bytes that were sent. So each direction loses bytes at its end, never in its
        // middle.
        link.up.truncate(keep_up);
        link.down.truncate(keep_down);
        let client = &mut self.clients[link.client];
        client.up.fault();
        client.down.fault();
        self.cuts += 1;
        self.note(|| format!("link {index} is cut, {keep_up} and {keep_down} bytes arrive"));
    }

    /// Stalls a link: no bytes move on it for 200 steps, and up to 30 seconds pass, which may exceed the keep alive.
    fn stall(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let index = self.rng.usize(0..self.links.len());
        self.links[index].stalled_until = self.step + 200;
        let time = Duration::from_secs(self.rng.u64(1..30));
        self.note(|| format!("link {index} stalls, {time:?} pass"));
        self.pass_time(time);
    }

    /// Ends a client's connection with DISCONNECT. The client reconnects later.
    fn leave(&mut self) -> Result<(), Violation> {
        let index = self.rng.usize(0..self.clients.len());
        let (ends_session, with_will) = (self.rng.bool(), self.rng.u8(0..3) == 0);
        let client = &mut self.clients[index];
        let Some(link) = client.link.filter(|_| client.core.is_connected()) else {
            return Ok(());
        };
        client.leave(self.now, ends_session, with_will);
        self.note(|| format!("client {index} leaves"));
        self.client_sends(link)?;
        self.client_lost(index, ClientError::Closed(CloseReason::ConnectionLost))
    }

    /// Kills the process of a random client, if the plan permits this client to die.
    fn crash(&mut self) -> Result<(), Violation> {
        let index = self.rng.usize(0..self.clients.len());
        let client = &mut self.clients[index];
        if !client.plan.may_crash {
            return Ok(());
        }
        if let Some(link) = client.link.take() {
            let link = &mut self.links[link];
            link.client_is_open = false;
            // Nobody reads these bytes any more. Bytes that the client has sent may still reach the broker.
            link.down.clear();
        }
        for key in client.crash(index) {
            self.oracle.abandoned(key);
        }
        client.retry_at = self.now;
        self.cuts += 1;
        self.note(|| format!("client {index} dies"));
        Ok(())
    }

    pub(crate) fn pass_time(&mut self, time: Duration) {
        let now = self.now + time;
        self.pass_time_to(now);
    }

    fn pass_time_to(&mut self, now: Instant) {
        if now > self.now {
            // The callers of this function have no result to return. `check_failures` reports the violation later.
            if let Err(violation) = self.time_ends() {
                self.clients[0].failure.get_or_insert(violation);
            }
        }
        self.now = now;
        self.fire_timers();
    }

    /// Ends the current instant. The observer reads the wills that were published at this instant, so that the time of
    /// each will is exact.
    pub(crate) fn time_ends(&mut self) -> Result<(), Violation> {
        self.observer.read(&mut self.broker, self.now)?;
        self.observer.time_passes(self.now);
        Ok(())
    }

    /// Advances the time to the next deadline of a client or of the broker.
    pub(crate) fn pass_to_next_deadline(&mut self) {
        let own = self.clients.iter().map(|client| match client.link {
            Some(_) => client.core.poll_timeout(),
            None => Some(client.retry_at),
        });
        let next = own.chain([self.broker.poll_timeout()]).flatten().min();
        if let Some(next) = next {
            self.pass_time_to(self.now.max(next));
        }
    }

    fn fire_timers(&mut self) {
        let now = self.now;
        while self.broker.poll_timeout().is_some_and(|due| due <= now) {
            self.broker.handle_timeout(now); // some of many at a time
        }
        for index in 0..self.clients.len() {
            if self.clients[index].link.is_some() {
                self.clients[index].core.handle_timeout(now);
                if let Err(violation) = self.client_handles(index) {
                    self.clients[index].failure.get_or_insert(violation);
                }
            }
        }
        if let Err(violation) = self.ended_connections_send() {
            self.clients[0].failure.get_or_insert(violation);
        }
    }

    /// Returns the first violation that was found while timers fired, as an error.
    pub(crate) fn check_failures(&mut self) -> Result<(), Violation> {
        self.clients
            .iter_mut()
            .find_map(|client| client.failure.take())
            .map_or(Ok(()), Err)
    }
}
