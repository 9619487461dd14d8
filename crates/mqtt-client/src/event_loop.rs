//! One loop for network, deadlines, and whatever else the program waits for.
//!
//! ```text
//!  poll:  write what is due ─> wait ─> read ─> handle each event ─> back to the program,
//!                                                                   which commits
//! ```
//!
//! What the program promised with an acknowledgement can be made true after the turn, once for all
//! its events: the bytes leave at the start of the next one.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Events, Interest, Poll, Token, Waker};
use mqtt_codec::{Delivery, Disconnect, Message, PacketIdentifier, ProtocolVersion, ReasonCode};
use mqtt_session::{CloseReason, Connection, Event, OutboundMessage, PublishError, Session};
use mqtt_transport::{ReadBuffer, ReadStatus, TlsError};

use crate::core::ClientCore;
use crate::dialer::{Advance, Attempt, Dialer};
use crate::error::ClientError;
use crate::options::Options;
use crate::servers::Server;

const STREAM: Token = Token(0);
const WAKER: Token = Token(1);
/// What is watched for its end.
const WATCHED: Token = Token(2);
/// The program's own sources.
const FIRST_SOURCE: usize = 3;

/// While so many bytes wait for the socket nothing is read: a server that takes no acknowledgements
/// gets no more of them.
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
    /// Whether the socket may have more to read.
    readable: bool,
    /// Whether the program stopped before all of the buffer was handled.
    stopped: bool,
    /// The stream takes nothing any more. What the server said before is read still.
    unwritable: bool,
    /// All was read that there is.
    is_closed: bool,
    /// Why nothing more can be read, if TLS and the like say so.
    transport_error: Option<io::Error>,
    /// What the server is to be told at the very end; a courtesy.
    farewell: Vec<u8>,
    /// The stream that it goes to.
    ending: Option<Dialer>,
    sources: usize,
    /// The program takes nothing now.
    is_paused: bool,
    /// Set at the end of a pause until the next turn.
    was_paused: bool,
    /// Nobody reads what is watched any more.
    watched_ended: bool,
}

/// The reason why a turn ended.
#[derive(Debug)]
pub enum Wakeup {
    /// The deadline of the caller has passed.
    Deadline,
    /// The connection is gone; the next attempt is made after this time.
    Disconnected(ClientError, Duration),
    /// A service was looked up: [`EventLoop::server`] is one that offers it now.
    Found,
    /// Something happened; perhaps there were events.
    Progress,
}

impl EventLoop {
    /// A client that has not done anything yet. With a session it goes on with that; see
    /// [`Connection::client`].
    ///
    /// # Errors
    /// If the system has no room for another poll.
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
        })
    }

    /// Ends a wait from any thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Readiness to read of `source` ends a wait too.
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

    /// That nobody reads any more what is written to `source`, a pipe, ends a wait too.
    ///
    /// # Errors
    /// If it cannot be polled, as files cannot.
    pub fn watch_for_end(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poll
            .registry()
            .register(source, WATCHED, Interest::READABLE)
    }

    /// Returns `true` if the watched stream has ended.
    pub fn has_watched_ended(&self) -> bool {
        self.watched_ended
    }

    /// From now on nothing is read, and a lost connection is not made again: the program has no room.
    /// What it has goes out, and pings do. Turns give no events of what comes.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// The end of a pause.
    pub fn resume(&mut self) {
        self.was_paused |= std::mem::take(&mut self.is_paused);
    }

    /// Returns `true` while the client is paused.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The program has taken a message over, perhaps some turns after it came. It has to say so
    /// before the turn that makes a lost connection again; [`EventLoop::pause`] gives it the time.
    pub fn accept_message(&mut self, delivery: Delivery) {
        self.core.accept_message(Instant::now(), delivery);
    }

    /// Runs one turn, which may wait until `deadline`, and passes each event with the connection to `handle`. After
    /// [`ControlFlow::Break`] the turn handles no more events and keeps the bytes that it has read for the next turn.
    ///
    /// # Errors
    /// If the connection has ended and is not made again. All further turns fail.
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

    /// Says whether a service was looked up.
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
            // All that came before the end is handled.
            self.core.handle_close();
            let _ = self.core.handle_input(now, &mut &[][..], handle)?;
        }
        Ok(false)
    }

    /// Waits for a waker, a source or the deadline, and does nothing else: not for long, as pings and
    /// deadlines wait too.
    pub fn wait_only(&mut self, deadline: Instant) {
        // What the system refuses here it refuses in the next turn.
        let _ = self.poll_for(Some(deadline.saturating_duration_since(Instant::now())));
    }

    /// Sends a message, or says why not; see [`Connection::publish`].
    ///
    /// # Errors
    /// As there; also if messages of a lost session have to go first.
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

    /// The connection, while there is one.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.core.connection()
    }

    /// Returns `true` if the server has accepted the connection and it is not lost.
    pub fn is_connected(&self) -> bool {
        self.core.is_connected()
    }

    /// Messages of QoS 1 and 2 that were given to `publish` and are not with the server for sure.
    pub fn unfinished(&self) -> usize {
        self.core.unfinished()
    }

    /// The server that is connected to, or will be next.
    pub fn server(&self) -> Option<&Server> {
        self.core.server()
    }

    /// Bytes that wait for the socket.
    pub fn unwritten(&self) -> usize {
        let unsent = match &self.dialer {
            Dialer::Connected(stream) => stream.unsent(),
            _ => 0,
        };
        self.core.output().len() + unsent
    }

    /// Writes what waits, as far as the socket takes it; a failure comes out of the next turn. A
    /// program that stops because too much waits calls this first: only then a turn is sure to wake
    /// when there is room.
    pub fn flush(&mut self) {
        self.write();
    }

    /// Drops everything that waits for the socket, acknowledgements included: what they promise
    /// could not be made true. The connection is over without DISCONNECT.
    pub fn abandon(&mut self) {
        self.farewell.clear();
        self.dialer = Dialer::Ended;
    }

    /// Ends the connection and waits until the bytes are written. The socket may refuse to take any
    /// for at most `timeout` at a time. If the server may send messages, this also waits until the
    /// server closes, for one second of silence or `timeout` in all.
    ///
    /// # Errors
    /// If the bytes cannot be written; the connection is over in any case.
    pub fn disconnect(
        &mut self,
        disconnect: Disconnect,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        self.core.disconnect(Instant::now(), disconnect);
        self.close(timeout)
    }

    /// Ends the connection as [`Self::disconnect`] does, but so that the server publishes the will, if there is one. A
    /// client of 5.0 says so in DISCONNECT. One of 3.1 and 3.1.1 sends no DISCONNECT, which would delete the will.
    ///
    /// # Errors
    /// As [`Self::disconnect`].
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
        if let Dialer::Connected(stream) = &mut self.dialer {
            if !self.core.expects_messages() {
                // The connection ends either way; the good-bye only shows the server that nothing was cut off.
                let _ = stream.say_goodbye();
            } else if stream.shut_down_writing().is_ok() {
                self.await_close(timeout);
            }
        }
        self.dialer = Dialer::Ended;
        result
    }

    /// Reads and drops what the server still sends, until it closes. Closing a socket with unread
    /// bytes resets the connection: the server would then lose what it has not read yet, the last
    /// acknowledgements and the DISCONNECT, so that it publishes the will and sends messages again.
    fn await_close(&mut self, timeout: Duration) {
        let end = Instant::now() + timeout;
        let mut silent_until = end.min(Instant::now() + CLOSE_TIMEOUT);
        while Instant::now() < silent_until {
            self.buffer.clear();
            let Dialer::Connected(stream) = &mut self.dialer else {
                return;
            };
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

    /// Writes what is due, as far as the socket takes it. That it takes nothing is no end yet: the
    /// server may have said why.
    fn write(&mut self) {
        if let Dialer::Connected(stream) = &mut self.dialer {
            let has_something = !self.core.output().is_empty() || stream.unsent() > 0;
            if self.unwritable || !has_something {
                return;
            }
            match stream.write(self.core.output()) {
                Ok(written) => self.core.consume_output(Instant::now(), written),
                Err(_) => (self.unwritable, self.readable) = (true, true),
            }
        }
    }

    fn may_read(&self) -> bool {
        self.unwritable || self.unwritten() < MAXIMUM_UNWRITTEN
    }

    /// Waits for the first thing to do.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        if self.is_paused {
            let first = [deadline, self.core.poll_timeout()].into_iter().flatten();
            let wait = |first: Instant| first.saturating_duration_since(Instant::now());
            return self.poll_for(first.min().map(wait));
        }
        let is_up = matches!(self.dialer, Dialer::Connected(_));
        let busy = is_up && (self.stopped || self.readable && self.may_read());
        // A pause takes the events of a stream that comes up and of a look-up, which are not repeated.
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
            // Some events come only once, also while the stream comes up.
            self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        }
        Ok(())
    }

    fn begin_connection(&mut self, now: Instant) -> Result<(), ClientError> {
        self.core.handle_reached(now)?;
        self.buffer.clear();
        self.readable = true;
        self.stopped = false;
        (self.unwritable, self.is_closed) = (false, false);
        self.write();
        Ok(())
    }

    fn read(&mut self) {
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
                // Those of TLS and the like have something to say.
                self.transport_error = error.get_ref().is_some().then_some(error);
            }
        }
    }

    /// A connection that is lost because of what lies below it.
    fn explained(&mut self, error: ClientError) -> ClientError {
        match (error, self.transport_error.take()) {
            (ClientError::Closed(CloseReason::ConnectionLost), Some(error)) => {
                ClientError::Transport(error)
            }
            (ClientError::Closed(CloseReason::Decode(_)), _)
                if TlsError::is_alert(self.buffer.unread()) =>
            {
                ClientError::Transport(TlsError::Expected.into())
            }
            (error, _) => error,
        }
    }

    /// The connection is gone, or was not reached: tries again, or gives up.
    fn lost(&mut self, error: ClientError) -> Result<Wakeup, ClientError> {
        // What explains the end is behind acknowledgements of this turn, which the program has not
        // made true yet: it leaves when the program is done.
        self.farewell = self.core.output().to_vec();
        let mut random = [0; 4];
        let _ = getrandom::fill(&mut random); // without it the waits are only less spread
        let now = Instant::now();
        match self
            .core
            .handle_lost(now, error, u32::from_ne_bytes(random))
        {
            Ok((error, wait)) => {
                self.farewell.clear(); // there is nothing to explain
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
