//! The messages that clients did not get, counted by reason.

/// Why a message was dropped for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Its queue was full (`max_queued_messages`, `max_queued_bytes`).
    QueueFull,
    /// The message is larger than the client's Maximum Packet Size [MQTT-3.1.2-25].
    TooLarge,
    /// The message expired while it waited [MQTT-3.3.2-5].
    Expired,
    /// The client must not read the topic.
    NotAuthorized,
    /// A message of QoS 0 for a full queue, while the client did not read what was sent before.
    OutputFull,
    /// There was no memory for it (`memory_limit`).
    MemoryLimit,
}

/// The reasons with the names that people see, in the order of the variants.
const NAMES: [&str; 6] = [
    "queue_full",
    "packet_too_large",
    "expired",
    "not_authorized",
    "output_full",
    "memory_limit",
];

/// The number of dropped messages for each reason.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Drops([u64; NAMES.len()]);

impl Drops {
    pub(crate) fn count(&mut self, reason: DropReason) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Returns the sum over all reasons.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0)
    }
}
