//! The keys of connections and clients, and of the timers of both.

use slotmap::new_key_type;

new_key_type! {
    /// The key of a connection. Keys are never reused, so a late event of an old connection finds nothing.
    pub struct ConnectionId;
}

new_key_type! {
    /// Identifies a client from its first CONNECT to the end of its session. A key is never reused.
    pub(crate) struct ClientKey;
}

/// The owner of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    Connection(ConnectionId),
    Client(ClientKey),
    /// The next removal of retained messages that have expired.
    Retained,
}
