//! [`Network`]: the links between the clients and the broker.

use mqtt_broker_core::{Broker, InputProgress};

use crate::client::SimClient;
use crate::link::Link;
use crate::scenario::Scenario;

/// The links of all clients.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// The connections, in the order in which they were opened. A client may have several: its newest link, and older
    /// links whose end the broker has not noticed yet.
    pub(crate) links: Vec<Link>,
    /// The number of cuts of links, and of clients that died.
    pub(crate) cuts: u64,
}

impl Network {
    /// Cuts a random link.
    pub(crate) fn cut(&mut self, scenario: &mut Scenario, clients: &mut [SimClient]) {
        if self.links.is_empty() {
            return;
        }
        let rng = &mut scenario.rng;
        let index = rng.usize(0..self.links.len());
        let link = &mut self.links[index];
        let (keep_up, keep_down) = (rng.usize(0..=link.up.len()), rng.usize(0..=link.down.len()));
        if link.is_cut {
            return;
        }
        link.is_cut = true;
        // TCP delivers a prefix of the bytes that were sent. So each direction loses bytes at its end, never in its
        // middle.
        link.up.truncate(keep_up);
        link.down.truncate(keep_down);
        let client = &mut clients[link.client];
        client.up.fault();
        client.down.fault();
        self.cuts += 1;
        scenario.note(|| format!("link {index} is cut, {keep_up} and {keep_down} bytes arrive"));
    }

    /// Removes a link that both ends have closed.
    pub(crate) fn remove_if_over(&mut self, clients: &mut [SimClient], index: usize) {
        if self.links.get(index).is_some_and(Link::is_over) {
            self.links.remove(index);
            // Clients refer to their link by its index, and the indices of all later links have changed.
            for client in clients {
                if let Some(link) = client.link.as_mut().filter(|link| **link > index) {
                    *link -= 1;
                }
            }
        }
    }

    /// Marks the connections that the broker has resumed, so that the simulation reads from them again.
    pub(crate) fn resume_connections(&mut self, broker: &mut Broker) {
        while let Some(id) = broker.poll_resumable() {
            let of_id = |link: &&mut Link| link.connection == Some(id);
            if let Some(link) = self.links.iter_mut().find(of_id) {
                link.progress = InputProgress::Yielded;
            }
        }
    }

    /// Returns `true` if the broker has work without further input.
    pub(crate) fn has_work(&mut self, broker: &mut Broker) -> bool {
        self.resume_connections(broker);
        let is_busy = |link: &Link| link.progress == InputProgress::Yielded;
        self.links.iter().any(is_busy) || broker.has_background_work()
    }
}
