//! [`Resources`]: the limits, and how much memory and storage is left. The caller measures both, since the core knows
//! nothing of the process; here is decided that more is too much. The places that accept something ask `lacks_memory`
//! and `lacks_storage`.

use crate::limits::Limits;

/// The limits, and the measured use of memory and storage.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(crate) limits: Limits,
    /// Set while there is no room to make more changes durable.
    pub(crate) is_full: bool,
    /// Set while the store is larger than it may be.
    pub(crate) is_above_limit: bool,
    /// Bytes of memory that the process uses, as they were measured last.
    pub(crate) memory_used: u64,
}

impl Resources {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            is_full: false,
            is_above_limit: false,
            memory_used: 0,
        }
    }
}

impl Resources {
    /// Returns `true` if nothing more is accepted that would have to be durable.
    pub(crate) fn lacks_storage(&self) -> bool {
        self.is_full || self.is_above_limit
    }

    /// Returns `true` if nothing more is accepted that takes memory.
    pub(crate) fn lacks_memory(&self) -> bool {
        let limit = self.limits.maximum_memory;
        limit.is_some_and(|limit| self.memory_used >= limit)
    }
}
