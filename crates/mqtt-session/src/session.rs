//! What outlives a connection (MQTT 5.0, 4.1): messages sent and not finished, identifiers of
//! messages received and not finished. Subscriptions and waiting messages are the broker's.

use crate::delivery::{Receiver, Sender};

/// The state of both directions that has to survive a connection. The same for client and server.
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    /// For [`Defect::AliasesKept`](crate::Defect::AliasesKept) alone.
    #[cfg(feature = "planted-defects")]
    pub(crate) aliases: Option<crate::topic_alias::SentAliases>,
}

impl Session {
    /// Messages of QoS 1 and 2 that were sent and are not finished.
    pub fn unfinished_sent(&self) -> usize {
        self.sender.len()
    }

    /// Messages of QoS 2 that were taken over and not released by their sender yet.
    pub fn unfinished_received(&self) -> usize {
        self.receiver.held()
    }
}
