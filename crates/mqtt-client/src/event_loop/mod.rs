//! [`EventLoop`] serves the socket, the deadlines of the client, and the other event sources of the program.
//!
//! ```text
//!  poll:  write what is due ─> wait ─> read ─> handle each event ─> back to the program,
//!                                                                   which commits
//! ```
//!
//! A turn is one call of [`EventLoop::poll`]. Bytes are written at the start of the next turn. The program can
//! therefore make the received messages durable (commit) once after each turn, before the acknowledgements for the
//! events of that turn are written.

mod closing;
mod farewell;
mod moderation;
mod poller;
mod server_stream;
mod waiting;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Waker;
use mio::event::Source;
use mqtt_codec::{Delivery, Disconnect, PacketIdentifier, ProtocolVersion, ReasonCode};
use mqtt_session::{CloseReason, Connection, Event, OutboundMessage, PublishError, Session};

use self::farewell::Farewell;
use self::moderation::ReadModeration;
use self::poller::Poller;
use self::server_stream::ServerStream;
use crate::core::{ClientCore, Rejected};
use crate::dialer::{Advance, Attempt, Dialer};
use crate::error::ClientError;
use crate::options::Options;
use crate::servers::Server;

/// Number of bytes waiting for the socket at which the loop stops reading. A server that does not read acknowledgements
/// must not fill the memory with them.
const MAXIMUM_UNWRITTEN: usize = 1024 * 1024;

/// Event loop of a client. Each call of [`EventLoop::poll`] runs one turn.
#[derive(Debug)]
pub struct EventLoop {
    options: Options,
    core: ClientCore,
    poller: Poller,
    stream: ServerStream,
    /// Set if `handle` stopped the last turn before all packets in the buffer were handled.
    stopped: bool,
    intake: Intake,
    moderation: ReadModeration,
    farewell: Farewell,
}

/// Permission to read from the server and to reconnect. The program sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Running,
    /// The program accepts no messages.
    Paused,
    /// The pause has ended, and no turn has run since then.
    Resumed,
}

/// Reason why a turn ended.
#[derive(Debug)]
pub enum Wakeup {
    /// The deadline in the call of `poll` has passed.
    Deadline,
    /// The connection was lost, or an attempt has failed. The next attempt is made after this time.
    Disconnected(ClientError, Duration),
    /// The servers of a service were found. [`EventLoop::server`] now returns the first of them.
    Found,
    /// The turn has made progress and may have passed events.
    Progress,
}

impl EventLoop {
    /// Returns the event loop of a client that has not connected yet. The first connection resumes `session`; see
    /// [`Connection::client`].
    ///
    /// # Errors
    /// Returns an error if the operating system has no resources for another poll.
    pub fn new(options: Options, session: Option<Session>) -> Result<Self, ClientError> {
        Ok(Self {
            core: ClientCore::new(options.clone(), session),
            options,
            poller: Poller::new()?,
            stream: ServerStream::new(Instant::now()),
            stopped: false,
            intake: Intake::Running,
            moderation: ReadModeration::default(),
            farewell: Farewell::default(),
        })
    }

    /// Returns the waker. Any thread can use it to end the wait of a turn.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(self.poller.waker())
    }

    /// Registers `source`. A turn stops waiting when `source` becomes readable.
    ///
    /// # Errors
    /// Returns an error if the operating system cannot poll the source.
    pub fn register(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poller.register(source)
    }

    /// Registers `source`, the writing end of a pipe. A turn stops waiting when the reader of the pipe closes it.
    ///
    /// # Errors
    /// Returns an error if the operating system cannot poll the source, for example a regular file.
    pub fn watch_for_end(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poller.watch_for_end(source)
    }

    /// Returns `true` if the reader of the watched pipe has closed it.
    pub fn has_watched_ended(&self) -> bool {
        self.poller.has_watched_ended()
    }

    /// Acknowledges a message that the program has accepted, possibly some turns after its arrival. The program must
    /// call this method before a turn reconnects. [`EventLoop::pause`] prevents the client from reconnecting too early.
    pub fn acknowledge(&mut self, delivery: Delivery) {
        self.core.acknowledge(Instant::now(), delivery);
    }

    /// Runs one turn, which may wait until `deadline`. The turn passes each event and the connection to `handle`. After
    /// [`ControlFlow::Break`] the turn passes no more events, and keeps the bytes that it has read for the next turn.
    ///
    /// # Errors
    /// Returns an error if the connection has ended and the client does not reconnect. All further turns return an
    /// error.
    pub fn poll(
        &mut self,
        deadline: Option<Instant>,
        mut handle: impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<()>,
    ) -> Result<Wakeup, ClientError> {
        let result = self.try_poll(deadline, &mut handle);
        match result.map_err(|error| self.stream.explain(error)) {
            Ok(true) => Ok(Wakeup::Found),
            Ok(false) => match deadline {
                Some(deadline) if Instant::now() >= deadline => Ok(Wakeup::Deadline),
                _ => Ok(Wakeup::Progress),
            },
            Err(error) => self.lost(error),
        }
    }

    /// Runs one turn. Returns `true` if the servers of a service were found.
    fn try_poll(
        &mut self,
        deadline: Option<Instant>,
        handle: &mut impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<()>,
    ) -> Result<bool, ClientError> {
        if let Dialer::Ended = self.stream.dialer {
            return Err(ClientError::Closed(CloseReason::ConnectionLost));
        }
        self.flush();
        self.wait(deadline)?;
        let now = Instant::now();
        if self.is_paused() {
            // Bytes of the server, possibly a PINGRESP, may wait in the socket, so the server does not count as silent.
            self.core.handle_unread(now);
            self.core.handle_timeout(now);
            return Ok(false);
        }
        // Only an attempt that starts in this turn uses the deadline. `now` is a placeholder in other turns.
        let deadline = if self.stream.dialer.is_due(now) {
            self.core.begin_attempt(now)
        } else {
            now
        };
        let attempt = Attempt {
            options: &self.options,
            server: self.core.server(),
            deadline,
        };
        match self
            .stream
            .advance(&attempt, self.poller.registry(), self.poller.waker(), now)?
        {
            Advance::Nothing => {}
            Advance::Found(servers) => {
                self.core.found(servers);
                return Ok(true);
            }
            Advance::Up => self.begin_connection(now)?,
        }
        // After `Break` the buffer still contains whole packets. Reading more bytes would let it grow without limit.
        if self.stream.is_readable() && !self.stopped && self.may_read() {
            let available = self.stream.buffer.unread().len();
            self.stream.read();
            let count = self.stream.buffer.unread().len() - available;
            // With layers such as TLS, a read of nothing follows most others.
            if count > 0 {
                let written = self.stream.written();
                self.moderation.handle_read(now, count, written);
            }
        }
        self.core.handle_timeout(now);
        let mut input = self.stream.buffer.unread();
        let available = input.len();
        let flow = self.core.handle_input(now, &mut input, handle);
        self.stream.buffer.consume(available - input.len());
        self.stopped = flow?.is_break();
        if self.stream.is_closed() && !self.stopped {
            // All packets before the end of the stream have been handled, so the loss can be reported now.
            self.core.handle_close();
            let _ = self.core.handle_input(now, &mut &[][..], handle)?;
        }
        Ok(false)
    }

    /// Sends a message; see [`Connection::publish`].
    ///
    /// # Errors
    /// Returns the errors of [`Connection::publish`]. While messages of a lost session wait, the error is
    /// `QuotaUsedUp`.
    pub fn publish(
        &mut self,
        outgoing: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        self.core.publish(Instant::now(), outgoing)
    }

    /// Returns the messages that were given up; see [`ClientCore::take_rejected`].
    pub fn take_rejected(&mut self) -> Vec<Rejected> {
        self.core.take_rejected()
    }

    /// Returns `true` if a message of QoS 1 or 2 can be sent now.
    pub fn has_room(&self) -> bool {
        self.core.has_room()
    }

    /// Returns the connection, or `None` while no stream is open.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.core.connection()
    }

    /// Returns `true` while a connection exists that the server has accepted.
    pub fn is_connected(&self) -> bool {
        self.core.is_connected()
    }

    /// Returns the number of published messages of QoS 1 and 2 that the server has not acknowledged completely.
    pub fn unfinished(&self) -> usize {
        self.core.unfinished()
    }

    /// Returns the server of the connection or of the next attempt.
    pub fn server(&self) -> Option<&Server> {
        self.core.server()
    }

    /// Returns the number of bytes that wait for the socket.
    pub fn unwritten(&self) -> usize {
        self.stream.unwritten(&self.core)
    }

    /// Returns `true` if the server has closed the connection. A paused client does not read and needs this method to
    /// detect the end.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.stream.has_hung_up()
    }

    /// Returns the total number of output bytes that all streams of this client have accepted.
    pub(crate) fn written(&self) -> u64 {
        self.stream.written()
    }

    /// Returns the value that [`Self::written`] will have when the current output of this connection has been written.
    pub(crate) fn end_of_output(&self) -> u64 {
        self.stream.written() + self.core.output().len() as u64
    }

    /// Returns the messages of a lost session that wait to be published as new messages.
    pub fn backlog(&self) -> impl Iterator<Item = &OutboundMessage> {
        self.core.backlog()
    }

    /// Writes as many of the waiting bytes as the socket accepts. The next turn reports a failure. A program that stops
    /// publishing because too many bytes wait must call this method first: only a socket that was full reports that it
    /// is writable again.
    pub fn flush(&mut self) {
        self.stream.write(&mut self.core);
    }

    /// Drops the connection without DISCONNECT, and discards all bytes that wait for the socket. A program calls this
    /// method if it cannot store the messages that the waiting acknowledgements confirm.
    pub fn abandon(&mut self) {
        self.farewell.clear();
        self.stream.dialer = Dialer::Ended;
    }

    /// Sends DISCONNECT and blocks until all bytes are written. If the socket accepts no byte for `timeout`, the method
    /// returns an error. If the server may send messages, the method also waits until the server closes the connection:
    /// for at most one second of silence and at most `timeout` in total.
    ///
    /// # Errors
    /// Returns an error if the bytes cannot be written. The connection has ended in this case too.
    pub fn disconnect(
        &mut self,
        disconnect: Disconnect,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        self.core.disconnect(Instant::now(), disconnect);
        self.close(timeout)
    }

    /// Ends the connection like [`Self::disconnect`], but makes the server publish the will if CONNECT had one. In MQTT
    /// 5.0 the client sends the reason code 0x04 (Disconnect with Will Message). In MQTT 3.1 and 3.1.1 the client sends
    /// no DISCONNECT, because the server would delete the will.
    ///
    /// # Errors
    /// Returns the errors of [`Self::disconnect`].
    pub fn disconnect_with_will(
        &mut self,
        mut disconnect: Disconnect,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        let connect = &self.options.connect;
        match (&connect.will, connect.protocol_version) {
            (None, _) => {}
            (Some(_), ProtocolVersion::V5_0) => {
                disconnect.reason_code = ReasonCode::DisconnectWithWillMessage;
            }
            (Some(_), _) => return self.close(timeout),
        }
        self.disconnect(disconnect, timeout)
    }

    fn close(&mut self, timeout: Duration) -> Result<(), ClientError> {
        closing::close(&mut self.core, &mut self.stream, &mut self.poller, timeout)
    }

    fn begin_connection(&mut self, now: Instant) -> Result<(), ClientError> {
        self.core.handle_reached(now)?;
        self.stopped = false;
        self.moderation = ReadModeration::default();
        self.stream.begin();
        // CONNECT confirms nothing that the program must commit, so it is written in this turn.
        self.flush();
        Ok(())
    }

    /// Handles the loss of a connection or a failure to connect: schedules the next attempt, or ends the loop.
    fn lost(&mut self, error: ClientError) -> Result<Wakeup, ClientError> {
        // The output with the reason follows acknowledgements of this turn, which the program has not committed yet. It
        // is therefore written when the program drops the loop.
        self.farewell.set(self.core.output());
        let mut random = [0; 4];
        let _ = getrandom::fill(&mut random); // Without random bytes the jitter is always the same.
        let now = Instant::now();
        match self
            .core
            .handle_lost(now, error, u32::from_ne_bytes(random))
        {
            Ok((error, wait)) => {
                self.farewell.clear(); // Only a client that gives up sends the reason.
                self.stream.dialer = Dialer::Waiting(now + wait);
                Ok(Wakeup::Disconnected(error, wait))
            }
            Err(error) => {
                let dialer = std::mem::replace(&mut self.stream.dialer, Dialer::Ended);
                self.farewell.send_on_drop(dialer);
                Err(error)
            }
        }
    }
}
