//! [`SocketTable`]: the sockets of the connections, each with the state that the loop needs for it. The protocol state
//! of a connection is in the core, under its [`ConnectionId`].

use mqtt_broker_core::{ConnectionId, EVENTS, IdentitySource, InputProgress};
use mqtt_transport::{ReadBuffer, Stream};
use slab::Slab;
use slotmap::SecondaryMap;

/// The sockets, by index. The token of a socket in the poll is its index plus the number of listeners.
#[derive(Debug, Default)]
pub(crate) struct SocketTable {
    sockets: Slab<Socket>,
    /// Set when a socket is closed, until `take_closed`.
    has_closed: bool,
    /// The index of the socket of each connection.
    pub(crate) by_connection: SecondaryMap<ConnectionId, usize>,
    /// The number of sockets of each listener.
    counts: Vec<usize>,
}

/// The socket of a connection.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: Stream,
    /// The bytes that were read and not handled yet. `None` if there are none, so that an idle connection has no
    /// buffer.
    pub(crate) buffer: Option<Box<ReadBuffer>>,
    /// The connection in the core. `None` after the core has removed it, while the socket lingers.
    pub(crate) connection: Option<ConnectionId>,
    /// Set if the peer has closed its sending end, or the connection is broken.
    pub(crate) is_read_closed: bool,
    /// Set while the connection is in a queue of the schedule.
    pub(crate) is_queued: bool,
    /// The result of the last `Broker::handle_input`.
    pub(crate) progress: InputProgress,
    /// Set if the last `Broker::handle_input` spent the work budget. The connection is then served after the others.
    pub(crate) is_heavy: bool,
    /// The part of the client's certificate that is the user name. `None` if the listener does not use it, or after it
    /// was passed to the broker.
    pub(crate) unidentified: Option<IdentitySource>,
    /// Set until the certificate of the client was checked for warnings.
    pub(crate) may_have_warning: bool,
    /// Set after the broker has ended the connection. The socket is then in the list `Sockets::lingering`.
    pub(crate) is_ending: bool,
    /// The index of the listener.
    pub(crate) listener: usize,
}

impl Socket {
    /// Returns a socket that the listener has just accepted.
    pub(crate) fn new(stream: Stream, id: ConnectionId, listener: usize) -> Self {
        Self {
            stream,
            buffer: None,
            connection: Some(id),
            is_read_closed: false,
            is_queued: false,
            progress: InputProgress::Drained,
            is_heavy: false,
            unidentified: None,
            may_have_warning: false,
            is_ending: false,
            listener,
        }
    }

    /// Returns the user name in the client's certificate. The name is returned once, after the TLS handshake.
    pub(crate) fn identity(&mut self) -> Option<String> {
        // The certificate is known when the TLS handshake is complete, which may take several reads.
        let source = self.unidentified.filter(|_| self.stream.is_open())?;
        self.unidentified = None;
        let identity = self.stream.peer_identity()?;
        match source {
            IdentitySource::CommonName => identity.common_name,
            IdentitySource::Subject => Some(identity.subject),
        }
    }

    /// Returns a warning about the certificate of the client, if there is one. The warning is returned once, after the
    /// TLS handshake.
    pub(crate) fn warning(&mut self) -> Option<String> {
        if !self.may_have_warning || !self.stream.is_open() {
            return None;
        }
        self.may_have_warning = false;
        self.stream.peer_warning()
    }
}

impl SocketTable {
    /// Returns the index that the next socket gets. The caller needs the index before it adds the socket, to register
    /// the socket with its token.
    pub(crate) fn next_index(&self) -> usize {
        self.sockets.vacant_key()
    }

    /// Adds a socket at `next_index`.
    pub(crate) fn insert(&mut self, socket: Socket) {
        let index = self.sockets.vacant_key();
        if let Some(id) = socket.connection {
            self.by_connection.insert(id, index);
        }
        // The table does not know the number of listeners, so the list grows with the first socket of a listener.
        if self.counts.len() <= socket.listener {
            self.counts.resize(socket.listener + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(socket.listener) {
            *count += 1;
        }
        self.sockets.insert(socket);
    }

    /// Removes the socket from the table. Dropping the socket closes it, which also ends its registration in the poll.
    pub(crate) fn remove(&mut self, index: usize) {
        if let Some(socket) = self.sockets.try_remove(index) {
            self.has_closed = true;
            if let Some(count) = self.counts.get_mut(socket.listener) {
                *count -= 1;
            }
            if let Some(id) = socket.connection {
                self.by_connection.remove(id);
            }
        }
    }

    /// Returns `true` if a socket was closed since the last call, so that a descriptor is free.
    pub(crate) fn take_closed(&mut self) -> bool {
        std::mem::take(&mut self.has_closed)
    }

    /// Returns the number of bytes that were read from all sockets and not handled yet.
    #[cfg(unix)] // only the status socket reports this number
    pub(crate) fn unread_bytes(&self) -> usize {
        let buffers = self
            .sockets
            .iter()
            .filter_map(|(_, socket)| socket.buffer.as_ref());
        buffers.map(|buffer| buffer.unread().len()).sum()
    }

    /// Returns the number of sockets of a listener.
    pub(crate) fn count(&self, listener: usize) -> usize {
        self.counts.get(listener).copied().unwrap_or(0)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Socket> {
        self.sockets.get_mut(index)
    }

    /// Returns a socket that must be in the table, because the caller has just found it. If the socket is missing, this
    /// function logs an error and returns `None`. Debug builds panic.
    pub(crate) fn known_mut(&mut self, index: usize) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(index);
        if socket.is_none() {
            log::error!(target: EVENTS, "internal error: a socket is not in the table");
            debug_assert!(false, "a socket is not in the table");
        }
        socket
    }

    pub(crate) fn index_of(&self, id: ConnectionId) -> Option<usize> {
        self.by_connection.get(id).copied()
    }
}
