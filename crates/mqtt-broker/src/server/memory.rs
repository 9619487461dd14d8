//! Measures the memory of the process, if it is limited, and ends connections whose incomplete packets take too much.

use std::time::Instant;

use mqtt_broker_core::{ConnectionId, EVENTS};
use mqtt_codec::ReasonCode;

use super::Server;

/// Returns the bytes of memory that the process uses; `None` if the system does not say.
pub type MemoryGauge = fn() -> Option<u64>;

/// Number of bytes that are read from peers before memory is measured again within a turn.
const MEASURED_EVERY: usize = 256 * 1024;

/// Size of an incomplete packet in bytes from which its connection is ended while memory is short. Smaller packets are
/// complete after one or two reads, so that their clients are served.
const LARGE_PACKET: usize = 64 * 1024;

/// The gauge, and the bytes that were read since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Memory {
    gauge: Option<MemoryGauge>,
    read: usize,
    /// Set once it was logged that the memory cannot be measured.
    is_unknown: bool,
}

impl Server {
    /// Sets the function that measures the memory of the process for `memory_limit`. The server calls it once in each
    /// turn and after every 256 KiB that were read, and only while there is a limit.
    pub fn measure_memory_with(&mut self, gauge: MemoryGauge) {
        self.memory.gauge = Some(gauge);
    }

    /// Measures the memory, if it is limited.
    pub(super) fn measure_memory(&mut self) {
        let Some(limit) = self.broker.limits().maximum_memory else {
            return self.broker.set_memory_used(0);
        };
        self.memory.read = 0;
        let Some(used) = self.memory.gauge.and_then(|gauge| gauge()) else {
            if !std::mem::replace(&mut self.memory.is_unknown, true) {
                log::warn!(target: EVENTS, "memory_limit has no effect: rbroker cannot measure its memory on this system.");
            }
            return;
        };
        let lacked = self.broker.lacks_memory();
        self.broker.set_memory_used(used);
        match (lacked, self.broker.lacks_memory()) {
            (false, true) => log::warn!(
                target: EVENTS,
                "The memory in use exceeds memory_limit ({limit} bytes). The broker rejects messages and new clients until \
                 less is in use."
            ),
            (true, false) => {
                log::info!(target: EVENTS, "The memory in use is below memory_limit again.")
            }
            _ => {}
        }
    }

    /// Counts the bytes that a peer's buffer had, and of which `incomplete` bytes wait for the rest of their packet.
    /// While memory is short, ends the connection if they are many, and returns `true`: a client that never sends the
    /// rest would keep the memory.
    pub(super) fn note_read(
        &mut self,
        now: Instant,
        id: Option<ConnectionId>,
        taken: usize,
        incomplete: usize,
    ) -> bool {
        if self.broker.limits().maximum_memory.is_none() {
            return false;
        }
        self.memory.read += taken;
        if self.memory.read >= MEASURED_EVERY {
            self.measure_memory();
        }
        let Some(id) = id.filter(|_| incomplete >= LARGE_PACKET && self.broker.lacks_memory())
        else {
            return false;
        };
        self.broker
            .end_connection(now, id, ReasonCode::QuotaExceeded);
        true
    }
}
