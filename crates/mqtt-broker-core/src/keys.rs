//! The keys of connections, clients and timer entries.

use slotmap::new_key_type;

new_key_type! {
    /// The key of a connection. A key is never reused, so an event for a removed connection cannot reach another
    /// connection.
    pub struct ConnectionId;
}

new_key_type! {
    /// The key of a client, from its first CONNECT to the end of its session. A key is never reused.
    pub(crate) struct ClientKey;
}

/// The owner of a timer entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// A connection: the timeout for CONNECT, or the keep alive.
    Connection(ConnectionId),
    /// A client: the publication of its will, the end of its session, or the next messages of its queue.
    Client(ClientKey),
    /// The next removal of expired retained messages.
    Retained,
}
