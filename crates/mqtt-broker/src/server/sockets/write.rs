//! Writes the output of connections that waits for no commit.

use super::state::Sockets;
use mqtt_broker_core::{Broker, ConnectionId};
use std::time::Instant;

/// Maximum number of passes over the changed connections in one turn. Writing to one connection may change others.
const MAXIMUM_PASSES: usize = 4;

/// Maximum number of bytes that one turn writes to all connections together. Without this limit, copies of a large
/// message for many clients would make the turn long.
const MAXIMUM_WRITTEN: usize = 16 * 1024 * 1024;

/// The unit of bytes in which outputs are compared. Connections with fewer such units are written to first.
const SMALL_OUTPUT: usize = 64 * 1024;

impl Sockets {
    /// Writes the output that waits for no commit.
    pub(crate) fn write(&mut self, broker: &mut Broker, now: Instant) {
        let mut changed = std::mem::take(&mut self.writable);
        let mut written = 0;
        for _ in 0..MAXIMUM_PASSES {
            // Writing may cause more output: queued messages follow when the output has room, and a broken socket may
            // cause the publication of a will.
            changed.extend(std::iter::from_fn(|| broker.poll_changed()));
            if changed.is_empty() {
                break;
            }
            // A connection may be in the list twice, because its socket has room and its state has changed.
            changed.sort_unstable();
            changed.dedup();
            // Small outputs are written first, so that PINGRESP does not wait for the large messages of other clients.
            changed.sort_by_key(|id| broker.output(*id).len() / SMALL_OUTPUT);
            let mut ids = std::mem::take(&mut changed).into_iter();
            for id in ids.by_ref() {
                written += broker.output(id).len();
                if let Err(index) = self.write_to(broker, now, id) {
                    broker.handle_close(now, id);
                    self.close(broker, now, id, index);
                }
                if written >= MAXIMUM_WRITTEN {
                    break;
                }
            }
            changed.extend(ids);
        }
        self.writable = changed; // the next turn writes the rest, after it has read from sockets
        self.writable
            .extend(std::iter::from_fn(|| broker.poll_changed()));
    }

    /// Writes the output of a connection to its socket.
    ///
    /// # Errors
    /// Returns the index of the socket if the socket is broken.
    fn write_to(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        id: ConnectionId,
    ) -> Result<(), usize> {
        let Some(index) = self.table.index_of(id) else {
            return Ok(()); // its socket was closed after the connection had changed
        };
        let Some(socket) = self.table.known_mut(index) else {
            return Ok(());
        };
        let output = broker.output(id);
        match socket.stream.write(output) {
            Ok(0) => {} // the socket has no room; `handle_ready` continues when it has
            Ok(count) => broker.consume_output(now, id, count),
            Err(_) => return Err(index),
        }
        // The socket of an ended connection is closed after the last output, which has the reason of the end.
        if broker.has_ended(id) {
            self.end_socket(broker, now, id, index);
        }
        Ok(())
    }
}
