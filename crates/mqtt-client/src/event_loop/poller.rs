//! [`Poller`] waits for the socket, the waker and the event sources of the program.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use mqtt_transport::Stream;

use super::server_stream::{STREAM, ServerStream};
use crate::error::ClientError;

const WAKER: Token = Token(1);
/// Token of the pipe whose reader is watched.
const WATCHED: Token = Token(2);
/// First token of the program's own sources.
const FIRST_SOURCE: usize = 3;

/// Event sources for which a turn waits.
#[derive(Debug)]
pub(super) struct Poller {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// Number of the program's own sources.
    sources: usize,
    /// Set when the reader of the watched pipe has closed it.
    watched_ended: bool,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(16),
            waker,
            sources: 0,
            watched_ended: false,
        })
    }

    /// Registers `source`. A wait ends when `source` becomes readable.
    pub(super) fn register(&mut self, source: &mut impl Source) -> io::Result<()> {
        let token = Token(FIRST_SOURCE + self.sources);
        self.sources += 1;
        self.registry().register(source, token, Interest::READABLE)
    }

    /// Registers `source`, the writing end of a pipe. A wait ends when the reader of the pipe closes it.
    pub(super) fn watch_for_end(&self, source: &mut impl Source) -> io::Result<()> {
        self.registry()
            .register(source, WATCHED, Interest::READABLE)
    }

    /// Makes the socket to the server end waits when the server closes the connection, but not when bytes arrive.
    ///
    /// # Errors
    /// Returns an error if the operating system cannot change the events of the socket, or reports the end of a
    /// connection only together with its bytes.
    pub(super) fn ignore_input(&self, socket: &mut Stream) -> io::Result<()> {
        // epoll reports the end of both directions (EPOLLHUP) to every socket. Other systems report it to readers only.
        if cfg!(any(target_os = "linux", target_os = "android")) {
            let registry = self.registry();
            return registry.reregister(socket, STREAM, Interest::WRITABLE);
        }
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits for the first event, and records the events of the socket in `stream`.
    pub(super) fn wait(
        &mut self,
        stream: &mut ServerStream,
        timeout: Option<Duration>,
    ) -> Result<(), ClientError> {
        match self.poll.poll(&mut self.events, timeout) {
            // A signal ends the wait without an error, so that the program can handle the signal after this turn.
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let mut of_watched = self.events.iter().filter(|event| event.token() == WATCHED);
        // Depending on the operating system, the end of the reader is reported as an error or as the end of writing.
        self.watched_ended |= of_watched.any(|event| event.is_error() || event.is_write_closed());
        for event in self.events.iter().filter(|event| event.token() == STREAM) {
            stream.handle_readiness(event);
        }
        Ok(())
    }

    /// Returns the waker. Any thread can use it to end a wait.
    pub(super) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Returns `true` if the reader of the watched pipe has closed it.
    pub(super) fn has_watched_ended(&self) -> bool {
        self.watched_ended
    }
}
