//! The limit of the broker's memory (`memory_limit`). The caller measures the memory, since the core knows nothing of
//! the process; here is decided that more is too much. The places that accept something ask [`Broker::lacks_memory`].

use crate::Broker;
use crate::stats::drops::DropReason;

impl Broker {
    /// Sets the bytes of memory that the process uses. While they are not below the limit, the broker accepts no
    /// messages, new clients and new subscriptions, and keeps serving the clients that it has.
    pub fn set_memory_used(&mut self, bytes: u64) {
        self.memory_used = bytes;
    }

    /// Returns `true` if nothing more is accepted that takes memory.
    pub fn lacks_memory(&self) -> bool {
        let limit = self.limits.maximum_memory;
        limit.is_some_and(|limit| self.memory_used >= limit)
    }

    /// Drops a message of QoS 0 if there is no memory for it, and the retained message that it would have replaced.
    /// Returns `true` if the message is dropped.
    pub(crate) fn drop_without_memory(&mut self, topic_name: &str, is_retained: bool) -> bool {
        if !self.lacks_memory() {
            return false;
        }
        self.statistics.drops.count(DropReason::MemoryLimit);
        if is_retained {
            self.remove_retained(topic_name); // [MQTT-3.3.1-7] of 3.1.1
        }
        true
    }
}
