//! Measures the memory of the process if `memory_limit` is set, and ends connections with large incomplete packets
//! while the limit is reached. The core decides what else the broker rejects then (`resources.rs`).

use mqtt_broker_core::{Broker, ConnectionId, EVENTS};
use mqtt_codec::ReasonCode;
use std::time::Instant;

/// A function that returns the bytes of memory that the process uses, or `None` if the system does not report them.
pub type MemoryGauge = fn() -> Option<u64>;

/// Number of bytes after which memory is measured again within a turn. A turn may read from many peers, so one
/// measurement per turn would come too late.
const MEASURED_EVERY: usize = 256 * 1024;

/// Size of an incomplete packet in bytes from which its connection is ended while `memory_limit` is reached. A smaller
/// incomplete packet takes little memory, and is usually complete after one or two reads.
const LARGE_PACKET: usize = 64 * 1024;

/// The measurement of memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    gauge: Option<MemoryGauge>,
    /// The number of bytes that were read since the last measurement.
    read: usize,
    /// Set when a warning was logged that memory cannot be measured.
    is_unknown: bool,
}

impl Memory {
    /// Sets the function that measures the memory of the process.
    pub(super) fn measure_with(&mut self, gauge: MemoryGauge) {
        self.gauge = Some(gauge);
    }

    /// Measures the memory if `memory_limit` is set, and logs if the limit is reached or no longer reached.
    pub(super) fn measure(&mut self, broker: &mut Broker) {
        let Some(limit) = broker.limits().maximum_memory else {
            // A reload may have removed the limit while it was reached.
            return broker.set_memory_used(0);
        };
        self.read = 0;
        let Some(used) = self.gauge.and_then(|gauge| gauge()) else {
            if !std::mem::replace(&mut self.is_unknown, true) {
                log::warn!(target: EVENTS, "memory_limit has no effect: rbroker cannot measure its memory on this system.");
            }
            return;
        };
        let lacked = broker.is_memory_exhausted();
        broker.set_memory_used(used);
        match (lacked, broker.is_memory_exhausted()) {
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

    /// Counts `taken` bytes that were in the buffer of a peer. The last `incomplete` of them are the start of an
    /// incomplete packet. While `memory_limit` is reached, a large `incomplete` ends the connection, because a client
    /// that never sends the rest of the packet would keep the memory. Returns `true` if the connection was ended.
    pub(super) fn note_read(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        id: Option<ConnectionId>,
        taken: usize,
        incomplete: usize,
    ) -> bool {
        if broker.limits().maximum_memory.is_none() {
            return false;
        }
        // Bytes that wait in a buffer count again at each call. That only causes earlier measurements.
        self.read += taken;
        if self.read >= MEASURED_EVERY {
            self.measure(broker);
        }
        let Some(id) = id.filter(|_| incomplete >= LARGE_PACKET && broker.is_memory_exhausted())
        else {
            return false; // the connection may continue
        };
        broker.end_connection(now, id, ReasonCode::QuotaExceeded);
        true
    }
}
