//! [`SocketTable`]: the sockets of the connections, and the bytes of incomplete packets that were read from them.

use mqtt_broker_core::{ConnectionId, IdentitySource, InputProgress};
use mqtt_transport::{ReadBuffer, Stream};
use slab::Slab;
use slotmap::SecondaryMap;

/// The sockets, by token.
#[derive(Debug, Default)]
pub(crate) struct SocketTable {
    sockets: Slab<Socket>,
    /// Set when a socket is closed.
    has_closed: bool,
    pub(crate) by_connection: SecondaryMap<ConnectionId, usize>,
    /// The number of sockets of each listener.
    counts: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: Stream,
    /// The start of an incomplete packet, if one was read.
    pub(crate) buffer: Option<Box<ReadBuffer>>,
    /// The connection in the core; `None` after it was removed there.
    pub(crate) connection: Option<ConnectionId>,
    /// Set if the peer sends nothing more, because the peer has closed its end or the connection is broken.
    pub(crate) is_read_closed: bool,
    /// Set while the connection is in a queue of the schedule.
    pub(crate) is_queued: bool,
    /// The progress of the broker with the bytes that were read.
    pub(crate) progress: InputProgress,
    /// Set if the connection spent its budget the last time. It is served after the connections that did not.
    pub(crate) is_heavy: bool,
    /// The part of the client's certificate that is the user name, until the certificate is known.
    pub(crate) unidentified: Option<IdentitySource>,
    /// Set until the certificate of the client was checked for warnings.
    pub(crate) may_have_warning: bool,
    /// Set after the broker has ended the connection; it is in the list of those that linger.
    pub(crate) is_ending: bool,
    /// The index of its listener.
    pub(crate) listener: usize,
}

impl Socket {
    /// Returns a socket that was just accepted.
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

    /// Returns the user name in the client's certificate, once after the handshake.
    pub(crate) fn identity(&mut self) -> Option<String> {
        let source = self.unidentified.filter(|_| self.stream.is_open())?;
        self.unidentified = None;
        let identity = self.stream.peer_identity()?;
        match source {
            IdentitySource::CommonName => identity.common_name,
            IdentitySource::Subject => Some(identity.subject),
        }
    }
}

impl Socket {
    /// Returns a line about the certificate of the client, once after the handshake.
    pub(crate) fn warning(&mut self) -> Option<String> {
        if !self.may_have_warning || !self.stream.is_open() {
            return None;
        }
        self.may_have_warning = false;
        self.stream.peer_warning()
    }
}

impl SocketTable {
    /// Returns the index that the next socket gets. A socket is registered under its token before it is in the table.
    pub(crate) fn next_index(&self) -> usize {
        self.sockets.vacant_key()
    }

    /// Adds a socket at `next_index`.
    pub(crate) fn insert(&mut self, socket: Socket) {
        let index = self.sockets.vacant_key();
        if let Some(id) = socket.connection {
            self.by_connection.insert(id, index);
        }
        if self.counts.len() <= socket.listener {
            self.counts.resize(socket.listener + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(socket.listener) {
            *count += 1;
        }
        self.sockets.insert(socket);
    }

    /// Closes the socket: dropping it also ends its registration.
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

    /// Returns `true` once after sockets were closed: their descriptors are free.
    pub(crate) fn take_closed(&mut self) -> bool {
        std::mem::take(&mut self.has_closed)
    }

    /// Returns the bytes that were read and not handled yet: the beginnings of packets.
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

    pub(crate) fn index_of(&self, id: ConnectionId) -> Option<usize> {
        self.by_connection.get(id).copied()
    }
}
