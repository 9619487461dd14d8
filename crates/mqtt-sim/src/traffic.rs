//! Moves bytes between clients and the broker in pieces of random size, and passes them to the checkers: when an end
//! sends them, and again when the other end receives them. `ends.rs` handles the ends of connections.

use std::ops::ControlFlow;

use mqtt_broker_core::InputProgress;

use crate::Violation;
use crate::simulation::Simulation;
use crate::wills::number_will;

/// The number of bytes that a link stores in each direction. An end cannot write while the link is full.
const LINK_CAPACITY: usize = 4096;

/// The capacity of a link in runs with a small budget, so that output waits at the broker. A CONNECT fits into the
/// link.
const SMALL_LINK_CAPACITY: usize = 256;

/// The Topic Alias Maximum that the broker announces by default.
const BROKER_ALIASES: u16 = 10;

/// The maximum number of bytes that wait at an end (I8). Messages are short and few are in flight, so 64 KiB are
/// plenty.
const MAXIMUM_UNWRITTEN: usize = 64 * 1024;

/// The number of bytes by which output may exceed its limit: one message, and acknowledgements of four bytes.
const ABOVE_LIMIT: usize = 512 + 4 * 200;

/// Returns a PUBACK, PUBREC or PUBCOMP with a packet identifier that is not in use.
fn spurious(rng: &mut fastrand::Rng) -> [u8; 4] {
    let first = [0x40, 0x50, 0x70][rng.usize(0..3)];
    [first, 2, 0xFF, 0xFE]
}

impl Simulation {
    /// Moves output of a client into its link.
    pub(crate) fn client_sends(&mut self, index: usize) -> Result<(), Violation> {
        let link = &mut self.links[index];
        if !link.client_is_open || link.is_cut {
            return Ok(());
        }
        let client = &mut self.clients[link.client];
        let room = LINK_CAPACITY.saturating_sub(link.up.len());
        let output = client.core.output();
        let count = output.len().min(room);
        if count == 0 {
            return Ok(());
        }
        let mut bytes = output[..count].to_vec();
        client.core.consume_output(self.now, count);
        if !link.client_sent_connect {
            link.client_sent_connect = true; // CONNECT is the first packet, and fits into the link
            number_will(&mut bytes, link.number);
        }
        link.up.extend(&bytes);
        let goodbye = &mut link.client_said_goodbye;
        let up = &mut client.up;
        link.client_sent.read(&bytes, |packet| {
            if *goodbye {
                return Err(Violation::new(
                    "I11",
                    format!("a packet behind DISCONNECT: {packet:?}"),
                ));
            }
            *goodbye = packet.kind == 14;
            if packet.topic_alias > BROKER_ALIASES {
                return Err(Violation::new(
                    "I10",
                    format!("an alias too high: {packet:?}"),
                ));
            }
            up.sends(&packet)
        })?;
        let open = client.core.is_connected() && !*goodbye && link.client_sent.is_between_packets();
        if open && self.rng.u8(0..100) < self.plan.spurious {
            link.up.extend(spurious(&mut self.rng));
        }
        self.record(1, index, &bytes);
        Ok(())
    }

    /// Moves output of the broker into the link, as far as it may be written.
    pub(crate) fn broker_sends(&mut self, index: usize) -> Result<(), Violation> {
        self.commit()?;
        let Some(id) = self.links[index].connection else {
            return Ok(());
        };
        // The broker may write output that waits for no commit immediately, so this output is checked now.
        self.check_output_to(index, self.broker.output(id).len())?;
        let has_ended = self.broker.has_ended(id);
        let capacity = match self.plan.budget {
            Some(_) => SMALL_LINK_CAPACITY,
            None => LINK_CAPACITY,
        };
        let link = &mut self.links[index];
        // A socket still accepts bytes after the connection is lost, so a cut does not block the broker.
        let room = if link.is_cut || !link.client_is_open {
            usize::MAX
        } else {
            capacity.saturating_sub(link.down.len())
        };
        let output = self.broker.output(id);
        let count = link.checked.min(room).min(output.len());
        let bytes = output[..count].to_vec();
        link.checked -= count;
        self.broker.consume_output(self.now, id, count);
        if !link.is_cut {
            link.down.extend(&bytes);
        }
        let open = link.connack_seen
            && !link.broker_said_goodbye
            && !link.is_cut
            && link.checked == 0
            && link.broker_sent.is_between_packets();
        if open && self.rng.u8(0..100) < self.plan.spurious {
            link.down.extend(spurious(&mut self.rng));
        }
        if has_ended && self.broker.whole_output(id).is_empty() {
            self.broker_end_is_gone(index);
        }
        if !bytes.is_empty() {
            self.record(2, index, &bytes);
        }
        Ok(())
    }

    /// Checks the output of the broker on a link that was not checked before.
    pub(crate) fn check_output(&mut self, index: usize) -> Result<(), Violation> {
        self.check_output_to(index, usize::MAX)
    }

    /// Checks the first `count` bytes of the broker's output on a link, except those that were checked before.
    fn check_output_to(&mut self, index: usize, count: usize) -> Result<(), Violation> {
        let Some(id) = self.links[index].connection else {
            return Ok(());
        };
        let (output, checked) = (self.broker.whole_output(id), self.links[index].checked);
        let maximum = match &self.plan.budget {
            Some(budget) => budget.unwritten + ABOVE_LIMIT,
            None => MAXIMUM_UNWRITTEN,
        };
        if output.len() > maximum {
            let client = self.links[index].client;
            let what = format!("{} bytes wait for client {client}", output.len());
            return Err(Violation::new("I8", what));
        }
        let count = count.min(output.len()).max(checked);
        let bytes = output[checked..count].to_vec();
        self.links[index].checked = count;
        self.check_broker_bytes(index, &bytes)
    }

    fn check_broker_bytes(&mut self, index: usize, bytes: &[u8]) -> Result<(), Violation> {
        let link = &mut self.links[index];
        let now = link.answered_at.unwrap_or(self.now);
        let client = &mut self.clients[link.client];
        let (connack_seen, goodbye) = (&mut link.connack_seen, &mut link.broker_said_goodbye);
        let (number, clean_start) = (link.number, link.clean_start);
        let broker_window = self.plan.broker_window;
        let (queues, highest_read) = (&mut self.queues, self.states.highest_read());
        link.broker_sent.read(bytes, |packet| {
            if *goodbye || (packet.kind == 2) == *connack_seen {
                return Err(Violation::new("I11", format!("out of place: {packet:?}")));
            }
            let plan = &client.plan;
            let too_large = |maximum: u32| packet.size > maximum as usize;
            if plan.maximum_packet_size.is_some_and(too_large)
                || packet.topic_alias > plan.topic_alias_maximum
            {
                let what = format!("more than client {} takes: {packet:?}", link.client);
                return Err(Violation::new("I10", what));
            }
            match packet.kind {
                2 => {
                    *connack_seen = true;
                    let link_of_it = (number, clean_start);
                    let is_resumed =
                        client.check_connack(&packet, link_of_it, broker_window, now)?;
                    if let Some(queues) = queues.as_mut().filter(|_| !is_resumed) {
                        queues.forget_held(link.client);
                    }
                }
                14 => {
                    *goodbye = true;
                    // 0x8D is Keep Alive timeout, and 0x8E is Session taken over. Any other reason code blames an
                    // honest client, except 0x8B, Server shutting down, during a stop.
                    let is_stopping = packet.reason == 0x8B && self.is_stopping;
                    if ![0x8D, 0x8E].contains(&packet.reason) && !is_stopping {
                        let what = format!("the broker blames a client: {packet:?}");
                        return Err(Violation::new("I11", what));
                    }
                }
                _ => {}
            }
            client.replay.sends(&packet, highest_read)?;
            if let Some(queues) = queues.as_mut().filter(|_| client.plan.lasts) {
                queues.broker_sends(link.client, &packet);
            }
            client.down.sends(&packet)
        })
    }

    /// Lets some bytes, or the end of the stream, reach the broker.
    pub(crate) fn broker_reads(&mut self, index: usize) -> Result<(), Violation> {
        self.connections_resume();
        let link = &mut self.links[index];
        let Some(id) = link.connection else {
            link.up.clear();
            return Ok(());
        };
        match link.progress {
            // The broker reads nothing in this turn, but continues with the bytes that it has.
            InputProgress::Yielded => return self.broker_handles(index, id),
            InputProgress::Blocked => return Ok(()),
            InputProgress::Drained => {}
        }
        if link.stalled_until > self.step {
            return Ok(());
        }
        let count = self.piece(self.links[index].up.len());
        let link = &mut self.links[index];
        if count == 0 {
            let closed = !link.client_is_open || link.is_cut;
            let late = !self.is_calm && self.plan.late_closes && self.rng.u8(0..8) > 0;
            if closed && link.up.is_empty() && !late {
                self.note(|| format!("broker notices the end of link {index}"));
                // The broker does not know which of its bytes have arrived, so all its output counts as sent, even the
                // part that waits for a commit.
                self.links[index].is_cut = true;
                self.broker_sends(index)?;
                self.check_output(index)?;
                self.broker.handle_close(self.now, id);
                self.broker_end_is_gone(index);
            }
            return Ok(());
        }
        let bytes: Vec<u8> = link.up.drain(..count).collect();
        if self.broker.has_ended(id) {
            // The last output of this connection may wait for a commit. The broker discards these bytes, so no checker
            // sees them.
            self.broker.handle_input(self.now, id, &mut &bytes[..]);
            self.record(3, index, &bytes);
            return self.ended_connections_send();
        }
        link.broker_input.extend(&bytes);
        self.record(3, index, &bytes);
        self.broker_handles(index, id)
    }

    /// Lets some bytes, or the end of the stream, reach the client.
    pub(crate) fn client_reads(&mut self, index: usize) -> Result<(), Violation> {
        let count = self.piece(self.links[index].down.len());
        let link = &mut self.links[index];
        if !link.client_is_open || link.stalled_until > self.step {
            return Ok(());
        }
        let client_index = link.client;
        if count == 0 {
            let closed = link.connection.is_none() || link.is_cut;
            if closed && link.down.is_empty() {
                self.clients[client_index].core.handle_close();
                self.note(|| format!("client {client_index} notices the end of link {index}"));
                self.client_handles(client_index)?;
            }
            return Ok(());
        }
        let bytes: Vec<u8> = link.down.drain(..count).collect();
        let broker_receive_maximum = self.plan.broker_receive_maximum;
        let client = &mut self.clients[client_index];
        link.client_got.read(&bytes, |packet| {
            if packet.kind == 2 {
                client.sees_connack(packet.session_present, broker_receive_maximum);
            }
            client.up.answered(&packet);
            Ok(())
        })?;
        client.input.extend(&bytes);
        self.record(4, index, &bytes);
        self.client_handles(client_index)
    }

    /// Lets the client handle the bytes that it has received.
    pub(crate) fn client_handles(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        let client = &mut self.clients[index];
        let buffer = std::mem::take(&mut client.input);
        let mut input = &buffer[..];
        let (application, plan) = (&mut client.application, &client.plan);
        let result = client
            .core
            .handle_input(now, &mut input, &mut |connection, event| {
                application.handle_event(now, plan, connection, &event);
                ControlFlow::Continue(())
            });
        client.input = input.to_vec();
        let got = std::mem::take(&mut application.got);
        let (waiting, unwritten) = (application.pending.len(), client.core.output().len());
        if waiting > usize::from(self.plan.broker_window) || unwritten > MAXIMUM_UNWRITTEN {
            let what = format!("{waiting} messages and {unwritten} bytes wait at client {index}");
            return Err(Violation::new("I8", what));
        }
        for taken in &got {
            self.deliver(index, taken)?;
        }
        match result {
            Ok(_) => Ok(()),
            Err(error) => self.client_lost(index, error),
        }
    }
}
