//! [`Drops`]: the number of messages that were dropped for a client, by reason.

/// The reason for which a message was dropped for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The queue of the client was full (`max_queued_messages`, `max_queued_bytes`).
    QueueFull,
    /// The message is larger than the client's Maximum Packet Size [MQTT-3.1.2-25].
    TooLarge,
    /// The message expired while it waited [MQTT-3.3.2-5].
    Expired,
    /// The ACL does not allow the client to receive the message.
    NotAuthorized,
    /// The message had QoS 0, and both the queue and the output of the client were full, because the client does not
    /// read.
    OutputFull,
    /// The process had reached `memory_limit`.
    MemoryLimit,
}

/// The names of the reasons below `$SYS` and in `rbroker status`, in the order of the variants.
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

    /// Returns the name and the count of each reason.
    pub(crate) fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0)
    }
}
