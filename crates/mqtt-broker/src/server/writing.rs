//! What the loop writes: the output of connections, once what it promises is durable, and how they end.

use std::time::Instant;

use mqtt_transport::ReadBuffer;

use super::journal::Committed;
use super::{LINGER, MAXIMUM_UNWRITTEN, Server, ServerError};
use crate::{Clock, ConnectionId};

impl Server {
    /// Writes what there is, as soon as what it promises is durable. What follows from writing (room in
    /// a window, a socket that is gone and its client's will) is another round, with its own commit.
    pub(super) fn write(&mut self, now: Instant) -> Result<(), ServerError> {
        let mut changed = std::mem::take(&mut self.writable);
        let mut gone = Vec::new();
        loop {
            changed.extend(std::iter::from_fn(|| self.broker.poll_changed()));
            // Written once in a round: what writing gives more to say waits for its own commit.
            changed.sort_unstable();
            changed.dedup();
            self.commit(now, &mut changed)?;
            if changed.is_empty() {
                match self.broker.poll_changed() {
                    None => return Ok(()),
                    Some(id) => changed.push(id),
                }
                continue;
            }
            for id in changed.drain(..) {
                gone.extend(self.write_to(now, id).err().map(|index| (id, index)));
            }
            for (id, index) in gone.drain(..) {
                self.broker.handle_close(now, id);
                self.close(now, id, index);
            }
        }
    }

    /// Makes durable what the turn has recorded. Where that cannot be, those who would be told of it are
    /// taken out of `changed`, until it can.
    fn commit(&mut self, now: Instant, changed: &mut Vec<ConnectionId>) -> Result<(), ServerError> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let committed = journal.commit(self.broker.take_records(), Clock::now())?;
        self.broker.set_full(committed != Committed::All);
        let Committed::Not { was_tried } = committed else {
            self.broker.committed();
            self.release_held(changed);
            return Ok(());
        };
        // They were told to wait once; now they are better off elsewhere, or later.
        let given_up = was_tried.then(|| std::mem::take(&mut self.held));
        for id in given_up.into_iter().flatten() {
            if let Some(index) = self.peers.index_of(id) {
                self.broker.handle_close(now, id);
                self.close(now, id, index);
            }
        }
        changed.retain(|id| {
            let is_owed = self.broker.is_owed(*id);
            if is_owed {
                self.held.insert(*id);
            }
            !is_owed
        });
        Ok(())
    }

    /// What connections have waited for is durable: they are written to and read from again.
    fn release_held(&mut self, changed: &mut Vec<ConnectionId>) {
        if self.held.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.held) {
            changed.push(id);
            let index = self.peers.index_of(id);
            if let Some((index, peer)) = index.and_then(|at| Some((at, self.peers.get_mut(at)?))) {
                if !peer.is_ready {
                    peer.is_ready = true;
                    self.ready.push(index);
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
    }

    /// Writes what a connection has to say; the place of a peer whose socket is gone is the error.
    fn write_to(&mut self, now: Instant, id: ConnectionId) -> Result<(), usize> {
        let Some(index) = self.peers.index_of(id) else {
            return Ok(());
        };
        let Some(peer) = self.peers.get_mut(index) else {
            return Ok(());
        };
        let output = self.broker.output(id);
        let was_blocked = output.len() >= MAXIMUM_UNWRITTEN;
        match peer.stream.write(output) {
            Ok(0) => {} // not even what waits in the layers, perhaps
            Ok(count) => {
                self.broker.consume_output(now, id, count);
                if was_blocked && !peer.is_ready {
                    peer.is_ready = true;
                    self.ready.push(index);
                }
            }
            Err(_) => return Err(index),
        }
        if self.broker.has_ended(id) {
            self.end_peer(now, id, index);
        }
        Ok(())
    }

    /// The broker has ended a connection: its last bytes are written, for a while, and then what the
    /// peer still sends is read.
    fn end_peer(&mut self, now: Instant, id: ConnectionId, index: usize) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        if !peer.is_ending {
            peer.is_ending = true;
            self.lingering.push((now + LINGER, index));
        }
        if self.broker.output(id).is_empty() && peer.stream.unsent() == 0 {
            self.linger(now, id, index);
        }
    }

    /// The last bytes are written; the peer still has the connection open.
    fn linger(&mut self, now: Instant, id: ConnectionId, index: usize) {
        self.broker.remove(now, id);
        self.peers.by_connection.remove(id);
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.connection = None;
        peer.buffer = ReadBuffer::default();
        if peer.stream.shut_down_writing().is_err() {
            return self.peers.remove(index);
        }
        if !peer.is_ready {
            peer.is_ready = true;
            self.ready.push(index);
        }
    }

    pub(super) fn end_lingering(&mut self, now: Instant) {
        let due = self
            .lingering
            .iter()
            .take_while(|(until, _)| *until <= now)
            .count();
        let due: Vec<_> = self.lingering.drain(..due).collect();
        for (_, index) in due {
            // The place may have been given to another peer, which is not ending.
            let Some(peer) = self.peers.get_mut(index).filter(|peer| peer.is_ending) else {
                continue;
            };
            match peer.connection {
                Some(id) => self.close(now, id, index),
                None => self.peers.remove(index),
            }
        }
    }

    pub(super) fn close(&mut self, now: Instant, id: ConnectionId, index: usize) {
        self.broker.remove(now, id);
        self.peers.remove(index);
    }
}
