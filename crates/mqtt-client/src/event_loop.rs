//! The loop that serves the network, deadlines, and the other events that the program waits for.
//!
//! ```text
//!  poll:  write what is due ─> wait ─> read ─> handle each event ─> back to the program,
//!                                                                   which commits
//! ```
//!
//! A turn is a call of [`EventLoop::poll`]. Bytes are written at the start of the next turn. So the program can
//! commit once after each turn, before the acknowledgements for the events of the turn are written.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Events, Interest, Poll, Token, Waker};
use mqtt_codec::{Delivery, Disconnect, Message, PacketIdentifier, ProtocolVersion, ReasonCode};
use mqtt_session::{CloseReason, Connection, Event, OutboundMessage, PublishError, Session};
#[cfg(feature = "tls")]
use mqtt_transport::TlsError;
use mqtt_transport::{ReadBuffer, ReadStatus, Stream};

use crate::core::ClientCore;
use crate::dialer::{Advance, Attempt, Dialer};
use crate::error::ClientError;
use crate::options::Options;
use crate::servers::Server;

const STREAM: Token = Token(0);
const WAKER: Token = Token(1);
/// The token of the stream that is watched for its end.
const WATCHED: Token = Token(2);
/// The first token of the program's own sources.
const FIRST_SOURCE: usize = 3;

/// The number of bytes waiting for the socket at which the loop stops reading. A server that reads no acknowledgements
/// must not fill the memory with them.
const MAXIMUM_UNWRITTEN: usize = 1024 * 1024;

/// Maximum silence of the server after DISCONNECT before the client closes the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The event loop of a client. The program runs one turn of it for each call of [`EventLoop::poll`].
#[derive(Debug)]
pub struct EventLoop {
    options: Options,
    core: ClientCore,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    dialer: Dialer,
    buffer: ReadBuffer,
    /// Set while the socket may have more bytes.
    readable: bool,
    /// Set if the program stopped before all packets of the buffer were handled.
    stopped: bool,
    /// Set once writing has failed. Bytes that the server sent before are still read: they may explain the failure.
    unwritable: bool,
    /// Set once all bytes of the stream were read.
    is_closed: bool,
    /// The error of a layer, such as TLS, that ended reading.
    transport_error: Option<io::Error>,
    /// The last bytes for the server, which explain the end. They are written when the loop is dropped.
    farewell: Vec<u8>,
    /// The stream for these bytes.
    ending: Option<Dialer>,
    sources: usize,
    /// Set while the program accepts no messages.
    is_paused: bool,
    /// Set at the end of a pause until the next turn.
    was_paused: bool,
    /// Set once the watched stream has ended.
    watched_ended: bool,
    /// Set once the system has reported the end of the stream, perhaps with bytes before it that were not read.
    has_hung_up: bool,
    /// The number of bytes of output that all streams together have taken.
    written: u64,
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
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            core: ClientCore::new(options.clone(), session),
            options,
            poll,
            events: Events::with_capacity(16),
            waker,
            dialer: Dialer::Waiting(Instant::now()),
            buffer: ReadBuffer::default(),
            readable: false,
            stopped: false,
            unwritable: false,
            is_closed: false,
            transport_error: None,
            farewell: Vec::new(),
            ending: None,
            sources: 0,
            is_paused: false,
            was_paused: false,
            watched_ended: false,
            has_hung_up: false,
            written: 0,
        })
    }

    /// Returns the waker, which ends a wait from any thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Makes the readiness of `source` for reading end a wait.
    ///
    /// # Errors
    /// If the source cannot be polled.
    pub fn register(&mut self, source: &mut impl Source) -> io::Result<()> {
        let token = Token(FIRST_SOURCE + self.sources);
        self.sources += 1;
        self.poll
            .registry()
            .register(source, token, Interest::READABLE)
    }

    /// Makes the end of the reader of `source`, a pipe, end a wait.
    ///
    /// # Errors
    /// If the source cannot be polled, such as a file.
    pub fn watch_for_end(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poll
            .registry()
            .register(source, WATCHED, Interest::READABLE)
    }

    /// Returns `true` if the watched stream has ended.
    pub fn has_watched_ended(&self) -> bool {
        self.watched_ended
    }

    /// Pauses the client, because the program cannot accept messages. The loop reads nothing and does not reconnect, so
    /// turns have no events. It still writes, and sends PINGREQ.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Ends a pause.
    pub fn resume(&mut self) {
        self.was_paused |= std::mem::take(&mut self.is_paused);
    }

    /// Returns `true` while the client is paused.
    pub fn is_paused(&self) -> bool {
        self.is_paused
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
        match result.map_err(|error| self.explained(error)) {
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
        if let Dialer::Ended = self.dialer {
            return Err(ClientError::Closed(CloseReason::ConnectionLost));
        }
        self.write();
        self.wait(deadline)?;
        let now = Instant::now();
        if self.is_paused {
            // The server is not silent: its bytes, perhaps a PINGRESP, wait in the socket.
            self.core.handle_unread(now);
            self.core.handle_timeout(now);
            return Ok(false);
        }
        let deadline = if self.dialer.is_due(now) {
            self.core.begin_attempt(now)
        } else {
            now
        };
        let attempt = Attempt {
            options: &self.options,
            server: self.core.server(),
            deadline,
        };
        let (dialer, registry) = (&mut self.dialer, self.poll.registry());
        match dialer.advance(&attempt, registry, STREAM, &self.waker, now)? {
            Advance::Nothing => {}
            Advance::Found(servers) => {
                self.core.found(servers);
                return Ok(true);
            }
            Advance::Up => self.begin_connection(now)?,
        }
        if self.readable && !self.stopped && self.may_read() {
            self.read();
        }
        self.core.handle_timeout(now);
        let mut input = self.buffer.unread();
        let available = input.len();
        let flow = self.core.handle_input(now, &mut input, handle);
        self.buffer.consume(available - input.len());
        self.stopped = flow?.is_break();
        if self.is_closed && !self.stopped {
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
        let unsent = match &self.dialer {
            Dialer::Connected(stream) => stream.unsent(),
            _ => 0,
        };
        self.core.output().len() + unsent
    }

    /// Returns `true` if the server has closed the connection, which a client that is paused does not find out by
    /// reading.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.has_hung_up || self.unwritable
    }

    /// Returns the number of bytes that all streams of this client have taken so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Returns the value that [`Self::written`] will have when all present output of this connection is written.
    pub(crate) fn end_of_output(&self) -> u64 {
        self.written + self.core.output().len() as u64
    }

    /// Returns the messages of a lost session that wait to be published as new ones.
    pub(crate) fn backlog(&self) -> impl Iterator<Item = &OutboundMessage> {
        self.core.backlog()
    }

    /// Writes the bytes that wait, as far as the socket accepts them. The next turn reports a failure. A program that
    /// stops publishing because too many bytes wait must call this first: only a socket that was full reports that it
    /// is writable.
    pub fn flush(&mut self) {
        self.write();
    }

    /// Drops the connection without DISCONNECT, and all bytes that wait for the socket. The program calls this if it
    /// cannot keep what the acknowledgements among them promise.
    pub fn abandon(&mut self) {
        self.farewell.clear();
        self.dialer = Dialer::Ended;
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
        let result = self.drain(timeout);
        if let Dialer::Connected(mut stream) = std::mem::replace(&mut self.dialer, Dialer::Ended) {
            if !self.core.expects_messages() {
                // The connection ends either way; the good-bye only shows the server that nothing was cut off.
                let _ = stream.say_goodbye();
            } else if stream.shut_down_writing().is_ok() {
                self.await_close(&mut stream, timeout);
            }
        }
        result
    }

    /// Reads and drops the bytes that the server still sends, until it closes the connection. Closing a socket with
    /// unread bytes resets the connection. The server would lose the last acknowledgements and DISCONNECT, publish the
    /// will and resend messages.
    fn await_close(&mut self, stream: &mut Stream, timeout: Duration) {
        let end = Instant::now() + timeout;
        let mut silent_until = end.min(Instant::now() + CLOSE_TIMEOUT);
        while Instant::now() < silent_until {
            self.buffer.clear();
            let wait = match self.buffer.fill(stream) {
                Ok(ReadStatus::Closed) | Err(_) => return,
                Ok(ReadStatus::More) => Duration::ZERO,
                Ok(ReadStatus::Drained) => silent_until.saturating_duration_since(Instant::now()),
            };
            if !self.buffer.is_empty() {
                silent_until = end.min(Instant::now() + CLOSE_TIMEOUT);
            }
            if self.poll_for(Some(wait)).is_err() {
                return;
            }
        }
    }

    fn drain(&mut self, timeout: Duration) -> Result<(), ClientError> {
        // The deadline moves with the progress, so that a slow link may take as long as it needs.
        let mut deadline = Instant::now() + timeout;
        let mut unwritten = self.unwritten();
        loop {
            self.write();
            if self.unwritten() == 0 {
                return Ok(());
            }
            if self.unwritable {
                return Err(ClientError::Closed(CloseReason::ConnectionLost));
            }
            let now = Instant::now();
            if self.unwritten() < unwritten {
                deadline = now + timeout;
                unwritten = self.unwritten();
            }
            if now >= deadline {
                return Err(ClientError::Io(io::ErrorKind::TimedOut.into()));
            }
            self.poll_for(Some(deadline - now))?;
        }
    }

    /// Writes the output, as far as the socket accepts it. A failure does not end the connection yet: the server may
    /// have sent the reason.
    fn write(&mut self) {
        if let Dialer::Connected(stream) = &mut self.dialer {
            let has_something = !self.core.output().is_empty() || stream.unsent() > 0;
            if self.unwritable || !has_something {
                return;
            }
            match stream.write(self.core.output()) {
                Ok(written) => {
                    self.written += written as u64;
                    self.core.consume_output(Instant::now(), written);
                }
                // Reading finds the reason: the bytes before the end, and then the error.
                Err(_) => (self.unwritable, self.readable) = (true, true),
            }
        }
    }

    fn may_read(&self) -> bool {
        self.unwritable || self.unwritten() < MAXIMUM_UNWRITTEN
    }

    /// Waits for the first event or deadline.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        if self.is_paused {
            let first = [deadline, self.core.poll_timeout()].into_iter().flatten();
            let wait = |first: Instant| first.saturating_duration_since(Instant::now());
            return self.poll_for(first.min().map(wait));
        }
        let is_up = matches!(self.dialer, Dialer::Connected(_));
        let busy = is_up && (self.stopped || self.readable && self.may_read());
        // During a pause the events of a new stream and of a look-up were consumed, and they are not repeated.
        if busy || std::mem::take(&mut self.was_paused) {
            return self.poll_for(Some(Duration::ZERO));
        }
        let own = self.dialer.poll_timeout();
        let first = [deadline, own, self.core.poll_timeout()]
            .into_iter()
            .flatten()
            .min();
        self.poll_for(first.map(|first| first.saturating_duration_since(Instant::now())))
    }

    fn poll_for(&mut self, timeout: Option<Duration>) -> Result<(), ClientError> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let mut of_watched = self.events.iter().filter(|event| event.token() == WATCHED);
        self.watched_ended |= of_watched.any(|event| event.is_error() || event.is_write_closed());
        for event in self.events.iter().filter(|event| event.token() == STREAM) {
            // Events are edge-triggered, so those of a stream that is still being connected are recorded, too.
            self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            self.has_hung_up |= event.is_read_closed() || event.is_error();
        }
        Ok(())
    }

    fn begin_connection(&mut self, now: Instant) -> Result<(), ClientError> {
        self.core.handle_reached(now)?;
        // The buffer may still hold the start of a packet that the last connection did not complete.
        self.buffer.clear();
        self.readable = true;
        self.stopped = false;
        (self.unwritable, self.is_closed, self.has_hung_up) = (false, false, false);
        self.write();
        Ok(())
    }

    fn read(&mut self) {
        // Readiness may be that of a stream that is still being connected or opened.
        let Dialer::Connected(stream) = &mut self.dialer else {
            return;
        };
        match self.buffer.fill(stream) {
            Ok(ReadStatus::More) => {}
            Ok(ReadStatus::Drained) if !self.unwritable => self.readable = false,
            Ok(ReadStatus::Drained | ReadStatus::Closed) => {
                self.readable = false;
                self.is_closed = true;
            }
            Err(error) => {
                self.readable = false;
                self.is_closed = true;
                // An error with a source is that of a layer, and explains more than the lost connection.
                self.transport_error = error.get_ref().is_some().then_some(error);
            }
        }
    }

    /// Replaces the error of a lost connection by that of the layer that caused it.
    fn explained(&mut self, error: ClientError) -> ClientError {
        match (error, self.transport_error.take()) {
            (ClientError::Closed(CloseReason::ConnectionLost), Some(error)) => {
                ClientError::Transport(error)
            }
            // The server has answered CONNECT with an alert of TLS, which is no MQTT packet.
            #[cfg(feature = "tls")]
            (ClientError::Closed(CloseReason::Decode(_)), _)
                if TlsError::is_alert(self.buffer.unread()) =>
            {
                ClientError::Transport(TlsError::Expected.into())
            }
            (error, _) => error,
        }
    }

    /// Handles the loss of a connection, or the failure to connect: schedules the next attempt, or ends the loop.
    fn lost(&mut self, error: ClientError) -> Result<Wakeup, ClientError> {
        // The bytes that explain the end follow acknowledgements of this turn, which the program has not committed yet.
        // So they are written when the program drops the loop.
        self.farewell = self.core.output().to_vec();
        let mut random = [0; 4];
        let _ = getrandom::fill(&mut random); // without random bytes the waits of clients are less spread
        let now = Instant::now();
        match self
            .core
            .handle_lost(now, error, u32::from_ne_bytes(random))
        {
            Ok((error, wait)) => {
                self.farewell.clear(); // only a client that gives up explains the end
                self.dialer = Dialer::Waiting(now + wait);
                Ok(Wakeup::Disconnected(error, wait))
            }
            Err(error) => {
                let dialer = std::mem::replace(&mut self.dialer, Dialer::Ended);
                self.ending = Some(dialer);
                Err(error)
            }
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        if let Some(Dialer::Connected(stream)) = &mut self.ending {
            let _ = stream.write(&self.farewell);
        }
    }
}
