//! The turns of the broker. The broker handles bytes until its budget of work is spent, and continues in a later turn.
//! If the broker blocks a connection, the simulation reads nothing from this connection until the broker resumes it
//! (I22).

use mqtt_broker_core::{ConnectionId, InputProgress};

use crate::Violation;
use crate::client::SimClient;
use crate::link::Left;
use crate::simulation::Simulation;

impl Simulation {
    /// Lets the broker handle the bytes that it has read from a connection, as far as the budget of work of this turn
    /// permits.
    pub(crate) fn broker_handles(
        &mut self,
        index: usize,
        id: ConnectionId,
    ) -> Result<(), Violation> {
        let input = std::mem::take(&mut self.links[index].broker_input);
        let mut rest = &input[..];
        self.begin_turn()?;
        let progress = self.broker.handle_input(self.now, id, &mut rest);
        let link = &mut self.links[index];
        (link.broker_input, link.progress) = (rest.to_vec(), progress);
        // The models follow only the bytes that the broker has handled. The rest waits in `broker_input` for a later
        // turn.
        self.broker_has_read(index, &input[..input.len() - rest.len()])?;
        self.end_turn()?;
        let link = &mut self.links[index];
        // The broker decides about session and will when it answers CONNECT, not when a commit releases the answer.
        if link.answered_at.is_none() && !self.broker.whole_output(id).is_empty() {
            link.answered_at = Some(self.now);
            self.accepted += 1;
            link.accepted = self.accepted;
        }
        self.background()?;
        self.ended_connections_send()
    }

    /// Lets the broker do the work that belongs to no connection, as far as the budget of work of this turn permits.
    pub(crate) fn background(&mut self) -> Result<(), Violation> {
        if self.broker.has_background_work() {
            self.begin_turn()?;
            self.broker.run_background(self.now);
            self.end_turn()?;
        }
        Ok(())
    }

    /// Marks the connections that the broker has resumed, so that the simulation reads from them again.
    pub(crate) fn connections_resume(&mut self) {
        while let Some(id) = self.broker.poll_resumable() {
            let of_id = |link: &&mut crate::link::Link| link.connection == Some(id);
            if let Some(link) = self.links.iter_mut().find(of_id) {
                link.progress = InputProgress::Yielded;
            }
        }
    }

    /// Returns `true` if the broker has work without further input.
    pub(crate) fn has_work(&mut self) -> bool {
        self.connections_resume();
        let is_busy = |link: &crate::link::Link| link.progress == InputProgress::Yielded;
        self.links.iter().any(is_busy) || self.broker.has_background_work()
    }

    /// Begins a turn of the broker. In a run with a queue limit all output is checked before the turn begins and after
    /// it ends, so that the turn in which the broker sent each message is known.
    fn begin_turn(&mut self) -> Result<(), Violation> {
        self.end_turn()?;
        if let Some(queues) = &mut self.queues {
            queues.begin_turn();
        }
        Ok(())
    }

    fn end_turn(&mut self) -> Result<(), Violation> {
        match self.queues {
            Some(_) => self.check_all_output(),
            None => Ok(()),
        }
    }

    /// Updates the models for the packets that the broker has handled.
    fn broker_has_read(&mut self, index: usize, bytes: &[u8]) -> Result<(), Violation> {
        let link = &mut self.links[index];
        let (states, queues) = (&mut self.states, &mut self.queues);
        let keeps = |client: &SimClient| client.plan.lasts.then_some(client.plan.subscribed);
        let granted: Vec<_> = match queues {
            Some(_) => self.clients.iter().map(keeps).collect(),
            None => Vec::new(),
        };
        let client = &mut self.clients[link.client];
        link.broker_got.read(bytes, |packet| {
            match packet.kind {
                1 => {
                    link.clean_start = packet.clean_start;
                    client.clean_start = packet.clean_start;
                }
                3 => states.broker_reads(&packet),
                14 => {
                    link.left = Some(Left {
                        expiry: packet.expiry,
                        with_will: packet.reason == 0x04,
                    });
                }
                _ => {}
            }
            if let Some(queues) = queues {
                let granted = granted.iter().enumerate();
                let granted = granted.filter_map(|(index, granted)| Some((index, (*granted)?)));
                queues.broker_reads(link.client, &packet, granted);
            }
            client.replay.reads(&packet);
            client.down.answered(&packet);
            Ok(())
        })
    }
}
