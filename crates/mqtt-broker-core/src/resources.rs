//! [`Resources`]: the limits, and how much memory and storage is left. The caller measures memory and storage, because
//! the core does no I/O. This module decides if the limits are reached. The functions that accept a message, a session
//! or a subscription call `is_memory_exhausted` and `is_storage_exhausted` first.

use crate::limits::Limits;

/// The limits, and the measured use of memory and storage.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(crate) limits: Limits,
    /// Set while the disk of the store is full.
    pub(crate) is_store_full: bool,
    /// Set while the store is larger than `max_store_bytes`.
    pub(crate) is_store_above_limit: bool,
    /// Bytes of memory that the process used at the last measurement.
    pub(crate) memory_used: u64,
}

impl Resources {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            is_store_full: false,
            is_store_above_limit: false,
            memory_used: 0,
        }
    }

    /// Returns `true` if the broker must not accept anything that has to be durable.
    pub(crate) fn is_storage_exhausted(&self) -> bool {
        self.is_store_full || self.is_store_above_limit
    }

    /// Returns `true` if the broker must not accept anything that takes memory, because `memory_limit` is reached.
    pub(crate) fn is_memory_exhausted(&self) -> bool {
        let limit = self.limits.maximum_memory;
        limit.is_some_and(|limit| self.memory_used >= limit)
    }
}
