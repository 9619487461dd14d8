//! The loop that serves the network, deadlines, and the other events that the program waits for.
//!
//! ```text
//!  poll:  write what is due ─> wait ─> read ─> handle each event ─> back to the program,
//!                                                                   which commits
//! ```
//!
//! A turn is a call of [`EventLoop::poll`]. Bytes are written at the start of the next turn. So the program can
//! commit once after each turn, before the acknowledgements for the events of the turn are written.

mod closing;
mod farewell;
mod poller;
mod server_stream;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Waker;
use mio::event::Source;
use mqtt_codec::{Delivery, Disconnect, Message, PacketIdentifier, ProtocolVersion, ReasonCode};
use mqtt_session::{CloseReason, Connection, Event, OutboundMessage, PublishError, Session};

use self::farewell::Farewell;
use self::poller::Poller;
use self::server_stream::ServerStream;
use crate::core::ClientCore;
use crate::dialer::{Advance, Attempt, Dialer};
use crate::error::ClientError;
use crate::options::Options;
use crate::servers::Server;

/// The number of bytes waiting for the socket at which the loop stops reading. A server that reads no acknowledgements
/// must not fill the memory with them.
const MAXIMUM_UNWRITTEN: usize = 1024 * 1024;

/// The event loop of a client. The program runs one turn of it for each call of [`EventLoop::poll`].
#[derive(Debug)]
pub struct EventLoop {
    options: Options,
    core: ClientCore,
    poller: Poller,
    stream: ServerStream,
    /// Set if the program stopped before all packets of the buffer were handled.
    stopped: bool,
    intake: Intake,
    farewell: Farewell,
}

/// The program's permission to read from the server and to reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Running,
    /// The program accepts no messages.
    Paused,
    /// The pause has ended, and no turn has run since.
    Resumed,
}

/// The reason why a turn ended.
#[derive(Debug)]
pub enum Wakeup {
    /// The deadline of the caller has passed.
    Deadline,
    /// The connection was lost. The next attempt is made after this time.
    Disconnected(ClientError, Duration),
    /// The servers of a service were found: [`EventLoop::server`] returns the first of them now.
    Found,
    /// The turn may have handled events.
    Progress,
}

impl EventLoop {
    /// Creates the loop of a client that has not connected yet. The client resumes `session`, if there is one; see
    /// [`Connection::client`].
    ///
    /// # Errors
    /// If the system has no resources for another poll.
    pub fn new(options: Options, session: Option<Session>) -> Result<Self, ClientError> {
        Ok(Self {
            core: ClientCore::new(options.clone(), session),
            options,
            poller: Poller::new()?,
            stream: ServerStream::new(Instant::now()),
            stopped: false,
            intake: Intake::Running,
            farewell: Farewell::default(),
        })
    }

    /// Returns the waker, which ends a wait from any thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(self.poller.waker())
    }

    /// Makes the readiness of `source` for reading end a wait.
    ///
    /// # Errors
    /// If the source cannot be polled.
    pub fn register(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poller.register(source)
    }

    /// Makes the end of the reader of `source`, a pipe, end a wait.
    ///
    /// # Errors
    /// If the source cannot be polled, such as a file.
    pub fn watch_for_end(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poller.watch_for_end(source)
    }

    /// Returns `true` if the watched stream has ended.
    pub fn has_watched_ended(&self) -> bool {
        self.poller.has_watched_ended()
    }

    /// Pauses the client, because the program cannot accept messages. The loop reads nothing and does not reconnect, so
    /// turns have no events. It still writes, and sends PINGREQ.
    pub fn pause(&mut self) {
        self.intake = Intake::Paused;
    }

    /// Ends a pause.
    pub fn resume(&mut self) {
        if self.is_paused() {
            self.intake = Intake::Resumed;
        }
    }

    /// Returns `true` while the client is paused.
    pub fn is_paused(&self) -> bool {
        self.intake == Intake::Paused
    }

    /// Acknowledges a message that the program has accepted, perhaps some turns after it arrived. The program must call
    /// this before the turn that reconnects; [`EventLoop::pause`] gives it the time.
    pub fn accept_message(&mut self, delivery: Delivery) {
        self.core.accept_message(Instant::now(), delivery);
    }

    /// Runs one turn, which may wait until `deadline`, and passes each event with the connection to `handle`. After
    /// [`ControlFlow::Break`] the turn handles no more events and keeps the bytes that it has read for the next turn.
    ///
    /// # Errors
    /// If the connection has ended and the client does not reconnect. All further turns fail.
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
            // The server is not silent: its bytes, perhaps a PINGRESP, wait in the socket.
            self.core.handle_unread(now);
            self.core.handle_timeout(now);
            return Ok(false);
        }
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
        match self.stream.advance(&attempt, &self.poller, now)? {
            Advance::Nothing => {}
            Advance::Found(servers) => {
                self.core.found(servers);
                return Ok(true);
            }
            Advance::Up => self.begin_connection(now)?,
        }
        if self.stream.is_readable() && !self.stopped && self.may_read() {
            self.stream.read();
        }
        self.core.handle_timeout(now);
        let mut input = self.stream.buffer.unread();
        let available = input.len();
        let flow = self.core.handle_input(now, &mut input, handle);
        self.stream.buffer.consume(available - input.len());
        self.stopped = flow?.is_break();
        if self.stream.is_closed() && !self.stopped {
            // All packets before the end are handled.
            self.core.handle_close();
            let _ = self.core.handle_input(now, &mut &[][..], handle)?;
        }
        Ok(false)
    }

    /// Waits for a waker, a source or `deadline`, and does nothing else. The wait must be short, as PINGREQ and the
    /// deadlines of the client wait, too.
    pub fn wait_only(&mut self, deadline: Instant) {
        // An error of the system is reported by the next turn.
        let _ = self.poll_for(Some(deadline.saturating_duration_since(Instant::now())));
    }

    /// Sends a message; see [`Connection::publish`].
    ///
    /// # Errors
    /// Those of [`Connection::publish`]. While messages of a lost session wait, the quota is used up.
    pub fn publish(
        &mut self,
        outgoing: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        self.core.publish(Instant::now(), outgoing)
    }

    /// Takes the messages that were given up; see [`ClientCore::take_rejected`].
    pub fn take_rejected(&mut self) -> Vec<Arc<Message>> {
        self.core.take_rejected()
    }

    /// Returns `true` if a message of QoS 1 or 2 can be sent now.
    pub fn has_room(&self) -> bool {
        self.core.has_room()
    }

    /// Returns the connection, while there is one.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.core.connection()
    }

    /// Returns `true` if the server has accepted the connection and it is not lost.
    pub fn is_connected(&self) -> bool {
        self.core.is_connected()
    }

    /// Returns the number of messages of QoS 1 and 2 that were published and that the server may not have.
    pub fn unfinished(&self) -> usize {
        self.core.unfinished()
    }

    /// Returns the server of the connection, or of the next attempt.
    pub fn server(&self) -> Option<&Server> {
        self.core.server()
    }

    /// Returns the number of bytes that wait for the socket.
    pub fn unwritten(&self) -> usize {
        self.stream.unwritten(&self.core)
    }

    /// Returns `true` if the server has closed the connection, which a client that is paused does not find out by
    /// reading.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.stream.has_hung_up()
    }

    /// Returns the number of bytes that all streams of this client have taken so far.
    pub(crate) fn written(&self) -> u64 {
        self.stream.written()
    }

    /// Returns the value that [`Self::written`] will have when all present output of this connection is written.
    pub(crate) fn end_of_output(&self) -> u64 {
        self.stream.written() + self.core.output().len() as u64
    }

    /// Returns the messages of a lost session that wait to be published as new ones.
    pub(crate) fn backlog(&self) -> impl Iterator<Item = &OutboundMessage> {
        self.core.backlog()
    }

    /// Writes the bytes that wait, as far as the socket accepts them. The next turn reports a failure. A program that
    /// stops publishing because too many bytes wait must call this first: only a socket that was full reports that it
    /// is writable.
    pub fn flush(&mut self) {
        self.stream.write(&mut self.core);
    }

    /// Drops the connection without DISCONNECT, and all bytes that wait for the socket. The program calls this if it
    /// cannot keep what the acknowledgements among them promise.
    pub fn abandon(&mut self) {
        self.farewell.clear();
        self.stream.dialer = Dialer::Ended;
    }

    /// Sends DISCONNECT and waits until all bytes are written, while the socket accepts some at least every `timeout`.
    /// If the server may send messages, this also waits until the server closes the connection, for one second of
    /// silence or `timeout` in all.
    ///
    /// # Errors
    /// If the bytes cannot be written. The connection has ended in any case.
    pub fn disconnect(
        &mut self,
        disconnect: Disconnect,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        self.core.disconnect(Instant::now(), disconnect);
        self.close(timeout)
    }

    /// Ends the connection as [`Self::disconnect`] does, but the server publishes the will, if there is one. A client
    /// of 5.0 uses a reason code of DISCONNECT for it. A client of 3.1 and 3.1.1 sends no DISCONNECT, which would
    /// delete the will.
    ///
    /// # Errors
    /// Those of [`Self::disconnect`].
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

    fn may_read(&self) -> bool {
        self.stream.is_unwritable() || self.unwritten() < MAXIMUM_UNWRITTEN
    }

    /// Waits for the first event or deadline.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        if self.is_paused() {
            let first = [deadline, self.core.poll_timeout()].into_iter().flatten();
            let wait = |first: Instant| first.saturating_duration_since(Instant::now());
            return self.poll_for(first.min().map(wait));
        }
        let is_up = matches!(self.stream.dialer, Dialer::Connected(_));
        let busy = is_up && (self.stopped || self.stream.is_readable() && self.may_read());
        if busy {
            return self.poll_for(Some(Duration::ZERO));
        }
        // During a pause the events of a new stream and of a look-up were consumed, and they are not repeated.
        if self.intake == Intake::Resumed {
            self.intake = Intake::Running;
            return self.poll_for(Some(Duration::ZERO));
        }
        let own = self.stream.dialer.poll_timeout();
        let first = [deadline, own, self.core.poll_timeout()]
            .into_iter()
            .flatten()
            .min();
        self.poll_for(first.map(|first| first.saturating_duration_since(Instant::now())))
    }

    fn poll_for(&mut self, timeout: Option<Duration>) -> Result<(), ClientError> {
        self.poller.wait(&mut self.stream, timeout)
    }

    fn begin_connection(&mut self, now: Instant) -> Result<(), ClientError> {
        self.core.handle_reached(now)?;
        self.stopped = false;
        self.stream.begin();
        self.flush();
        Ok(())
    }

    /// Handles the loss of a connection, or the failure to connect: schedules the next attempt, or ends the loop.
    fn lost(&mut self, error: ClientError) -> Result<Wakeup, ClientError> {
        // The bytes that explain the end follow acknowledgements of this turn, which the program has not committed yet.
        // So they are written when the program drops the loop.
        self.farewell.set(self.core.output());
        let mut random = [0; 4];
        let _ = getrandom::fill(&mut random); // without random bytes the waits of clients are less spread
        let now = Instant::now();
        match self
            .core
            .handle_lost(now, error, u32::from_ne_bytes(random))
        {
            Ok((error, wait)) => {
                self.farewell.clear(); // only a client that gives up explains the end
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
