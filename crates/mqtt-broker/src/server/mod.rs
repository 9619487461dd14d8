//! The loop: wait, read, handle, write. It decides nothing about MQTT.

mod commit_queue;
mod error;
mod listener;
mod listener_policy;
mod log_feed;
mod memory;
mod read;
mod reload;
mod reserve;
mod schedule;
mod signals;
#[cfg(test)]
mod slow_disk;
mod sockets;
#[cfg(unix)]
mod status;
mod write;

pub use error::{ListenError, ServerError};
pub use listener_policy::check;
pub use log_feed::{LogFeed, LogKind};
pub use memory::MemoryGauge;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use mio::event::Source;
use mio::{Events, Interest, Poll, Token, Waker};
use mqtt_broker_core::{Broker, ConnectionId, EVENTS};
use mqtt_transport::{Listener, ReadBuffer};

use self::commit_queue::CommitQueue;
use self::listener::{bind_listener, listen, listener_transport};
use self::reserve::Reserve;
use self::schedule::Schedule;
use self::signals::SignalSource;
use self::sockets::SocketTable;
use crate::auth::Passwords;
use crate::auth::verifier::PasswordVerifier;
use crate::{BrokerConfig, Clock, ListenerConfig};

const STOP: Token = Token(usize::MAX - 1);

/// A signal asks for a reload of the configuration.
const RELOAD: Token = Token(usize::MAX - 2);

/// A thread has finished its work: a password was verified, or a commit was made.
const DONE: Token = Token(usize::MAX - 3);

/// A signal asks for a commit of the store.
const SAVE: Token = Token(usize::MAX - 5);

/// A signal asks for a dump of subscriptions and retained messages into the log.
const DUMP: Token = Token(usize::MAX - 6);

/// A program asks for the status.
#[cfg(unix)]
const STATUS: Token = Token(usize::MAX - 4);

/// The time for which a connection that was ended is kept. Closing a socket with unread bytes makes the system discard
/// the last output, so the peer would not get the reason.
const LINGER: Duration = Duration::from_secs(1);

/// The time after which connections are accepted again after a failure, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Maximum time for the shutdown of the server.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A broker with its sockets.
pub struct Server {
    /// The configuration of the start. A reload replaces parts of it in the broker and in the listeners.
    config: BrokerConfig,
    poll: Poll,
    listeners: Vec<BoundListener>,
    broker: Broker,
    commit_queue: Option<CommitQueue>,
    /// Connections that waited for a commit when the disk was found full.
    held: Vec<ConnectionId>,
    sockets: SocketTable,
    schedule: Schedule,
    /// Listeners that may have more connections to accept.
    accepting: Vec<usize>,
    /// Connections whose sockets have room again.
    writable: Vec<ConnectionId>,
    /// One buffer serves all peers that do not hold the start of a packet.
    spare_buffer: Option<Box<ReadBuffer>>,
    lingering: Vec<(Instant, usize)>,
    /// Descriptors that no client gets.
    reserve: Reserve,
    retry_accept: Option<Instant>,
    /// Measures the memory of the process.
    memory: memory::Memory,
    /// Set while connections cannot be accepted, so that this is logged once.
    cannot_accept: bool,
    /// The password files of the listeners, in their order.
    passwords: Vec<Option<Arc<Passwords>>>,
    /// Checks passwords, once there was one.
    password_verifier: Option<PasswordVerifier>,
    waker: Arc<Waker>,
    /// Reads the configuration again.
    reader: Option<Reader>,
    /// Pipes that become readable with a signal.
    signals: Vec<(Token, SignalSource)>,
    /// Set while a dump has more lines.
    is_dumping: bool,
    /// The time of the next publication below `$SYS`, if there is one.
    statistics_due: Option<Instant>,
    /// Lines of the log that are to be published, if that is wanted.
    log_feed: Option<LogFeed>,
    /// The socket that answers `rbroker status`.
    #[cfg(unix)]
    status: Option<status::StatusSocket>,
    /// Set if more questions may wait at the socket.
    #[cfg(unix)]
    status_is_waiting: bool,
}

/// Reads the configuration again. The error is logged.
type Reader = Box<dyn FnMut() -> Result<BrokerConfig, String>>;

#[derive(Debug)]
pub(crate) struct BoundListener {
    pub(crate) listener: Listener,
    /// The address, for log lines.
    pub(crate) name: String,
    /// The socket address, unless it is a Unix socket.
    address: Option<SocketAddr>,
    /// The lines of the configuration that have opened the listener; `None` for the listener without a configuration.
    pub(crate) config: Option<ListenerConfig>,
    /// The number of earlier listeners at the same host and port. With port 0 there may be several.
    pub(crate) rank: usize,
}

impl BoundListener {
    /// Returns `true` if only programs on this machine can reach the listener: at a loopback address or a Unix socket.
    pub(crate) fn is_local(&self) -> bool {
        self.address
            .is_none_or(|address| address.ip().is_loopback())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.listeners)
            .field("broker", &self.broker)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the listeners of the configuration. Without listeners in the configuration, the server listens at
    /// `default_ports` of this machine only, and admits every client. No client is served before `open`.
    ///
    /// # Errors
    /// If a listener cannot be bound. No listener stays open then.
    pub fn bind(config: BrokerConfig, default_ports: &[u16]) -> Result<Self, ServerError> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        let waker = Arc::new(Waker::new(poll.registry(), DONE)?);
        let local_only = config.listeners.is_empty();
        if local_only {
            for port in default_ports {
                let hosts = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                let opened = listen(&hosts, *port)?;
                listeners.extend(opened.into_iter().map(|listener| (listener, None, 0)));
            }
        }
        for (index, listener) in config.listeners.iter().enumerate() {
            let place = || config.places.of_listener(index);
            let opened = bind_listener(listener).map_err(|error| error.at(place()))?;
            let above = config.listeners.iter().take(index);
            let rank = above.filter(|other| other.is_same_place(listener)).count();
            let with_settings = |opened| (opened, Some(listener.clone()), rank);
            listeners.extend(opened.into_iter().map(with_settings));
        }
        let mut bound = Vec::new();
        for (index, (mut listener, own, rank)) in listeners.into_iter().enumerate() {
            poll.registry()
                .register(&mut listener, Token(index), Interest::READABLE)?;
            bound.push(BoundListener {
                name: listener.name()?,
                address: listener.local_address()?,
                listener,
                config: own,
                rank,
            });
        }
        let broker = Broker::new(config.limits.clone(), Box::new(random));
        Ok(Self {
            config,
            poll,
            listeners: bound,
            broker,
            commit_queue: None,
            held: Vec::new(),
            sockets: SocketTable::default(),
            schedule: Schedule::default(),
            accepting: Vec::new(),
            writable: Vec::new(),
            spare_buffer: None,
            lingering: Vec::new(),
            reserve: Reserve::default(),
            retry_accept: None,
            memory: memory::Memory::default(),
            cannot_accept: false,
            passwords: Vec::new(),
            password_verifier: None,
            waker,
            reader: None,
            signals: Vec::new(),
            is_dumping: false,
            statistics_due: None,
            log_feed: None,
            #[cfg(unix)]
            status: None,
            #[cfg(unix)]
            status_is_waiting: false,
        })
    }

    /// Reads certificates, users, permissions and the store. The process must already run as the configured user, who
    /// must be able to read and write these files again later.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn open(&mut self) -> Result<(), ServerError> {
        let auth = listener_policy::of_listeners(&self.config, &self.listeners)?;
        for bound in &mut self.listeners {
            if let Some(own) = &bound.config {
                bound.listener.set_transport(listener_transport(own)?);
            }
        }
        listener_policy::announce(&self.listeners, &auth);
        listener_policy::warn_of_exposed_files(&self.config, &self.listeners);
        self.set_listener_auth(auth);
        let store = self.config.store();
        let commit_queue = store.map(|path| {
            let waker = Arc::clone(&self.waker);
            CommitQueue::open(&path, self.config.sync, &mut self.broker, waker)
        });
        self.commit_queue = commit_queue.transpose()?;
        self.statistics_due = self.broker.statistics_interval().map(|_| Instant::now());
        Ok(())
    }

    /// Sets the observer that is called for each packet of later connections.
    pub fn observe(&mut self, observer: mqtt_session::Observer) {
        self.broker.observe(observer);
    }

    /// Returns the size of the store in bytes, without the part of the file that was never written, and its limit;
    /// `None` without a store.
    pub fn store_size(&self) -> Option<(u64, Option<u64>)> {
        let limit = self.broker.limits().maximum_store_bytes;
        let limit = (limit < u64::MAX).then_some(limit);
        self.commit_queue
            .as_ref()
            .map(|commit_queue| (commit_queue.size(), limit))
    }

    /// Returns the addresses of the listeners.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.address)
    }

    /// Returns the paths of the Unix sockets at which clients connect.
    pub fn unix_sockets(&self) -> impl Iterator<Item = &Path> {
        let config = self
            .listeners
            .iter()
            .filter_map(|bound| bound.config.as_ref());
        config.filter_map(ListenerConfig::unix_path)
    }

    /// Ends `run` when `source` is readable.
    ///
    /// # Errors
    /// If the source cannot be polled.
    pub fn stop_on(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poll
            .registry()
            .register(source, STOP, Interest::READABLE)
    }

    /// Serves clients until a source of `stop_on` is readable.
    ///
    /// # Errors
    /// If the system does not let it wait.
    pub fn run(&mut self) -> Result<(), ServerError> {
        let mut events = Events::with_capacity(1024);
        while !self.turn(&mut events)? {}
        self.shut_down(&mut events)
    }

    /// Runs one turn: waits, reads, handles and writes. Returns `true` if the server must stop.
    fn turn(&mut self, events: &mut Events) -> Result<bool, ServerError> {
        self.wait(events)?;
        let now = Instant::now();
        let mut stop = false;
        self.measure_memory();
        self.accept_more(now);
        for event in events.iter() {
            match event.token() {
                STOP => stop = true,
                token @ (RELOAD | SAVE | DUMP) => self.handle_signal(token),
                DONE => {}
                #[cfg(unix)]
                STATUS => self.tell_status(now),
                Token(index) if index < self.listeners.len() => self.accept(now, index),
                Token(token) => self.handle_ready(token - self.listeners.len(), event),
            }
        }
        if self.retry_accept.is_some_and(|retry_at| retry_at <= now) {
            self.retry_accept = None;
            (0..self.listeners.len()).for_each(|index| self.accept(now, index));
        }
        self.serve(now);
        #[cfg(unix)]
        if std::mem::take(&mut self.status_is_waiting) {
            self.tell_status(now);
        }
        self.is_dumping = self.broker.poll_dump();
        self.check_passwords(now);
        self.handle_timeout(now);
        self.publish_statistics(now);
        self.publish_log_lines(now);
        self.write(now)?;
        self.end_lingering(now);
        // A pause for each descriptor that becomes free would keep a backlog of connections waiting for seconds.
        if let (true, Some(retry_at)) = (self.sockets.take_closed(), &mut self.retry_accept) {
            *retry_at = now;
        }
        Ok(stop)
    }

    fn wait(&mut self, events: &mut Events) -> Result<(), ServerError> {
        let lingering = self.lingering.first().map(|(until, _)| *until);
        let deadlines = [
            self.broker.poll_timeout(),
            lingering,
            self.retry_accept,
            self.password_verifier
                .as_ref()
                .and_then(PasswordVerifier::poll_timeout),
            self.commit_queue
                .as_ref()
                .and_then(CommitQueue::poll_timeout),
            self.statistics_due,
        ];
        let is_idle = !self.has_work() && !self.is_dumping && !self.has_log_lines();
        #[cfg(unix)]
        let is_idle = is_idle && !self.status_is_waiting;
        let timeout = match is_idle {
            false => Some(Duration::ZERO),
            true => {
                let first = deadlines.into_iter().flatten().min();
                first.map(|first| first.saturating_duration_since(Instant::now()))
            }
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.broker.poll_timeout().is_some_and(|due| due <= now) {
            self.broker.handle_timeout(now);
        }
    }

    /// Publishes the topics below `$SYS` again, if that is due.
    fn publish_statistics(&mut self, now: Instant) {
        if self.statistics_due.is_some_and(|due| due <= now) {
            self.broker.publish_statistics(now);
            let interval = self.broker.statistics_interval();
            self.statistics_due = interval.map(|interval| now + interval);
        }
    }

    /// Disconnects the clients, and waits a limited time until the clients have read the DISCONNECT.
    fn shut_down(&mut self, events: &mut Events) -> Result<(), ServerError> {
        log::info!(target: EVENTS, "Shutting down.");
        // The shutdown accepts no more connections.
        for bound in &mut self.listeners {
            self.poll.registry().deregister(&mut bound.listener)?;
        }
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        (self.retry_accept, self.statistics_due) = (None, None);
        self.accepting.clear();
        self.broker.shut_down(Instant::now());
        loop {
            let now = Instant::now();
            self.check_passwords(now);
            self.handle_timeout(now);
            self.write(now)?;
            self.serve(now);
            self.end_lingering(now);
            // A publication that is delivered in slices holds all mutations back until its end.
            let is_done = self.sockets.by_connection.is_empty()
                && self.lingering.is_empty()
                && !self.broker.has_background_work();
            if is_done || now >= deadline {
                if let Some(commit_queue) = &mut self.commit_queue {
                    commit_queue.push(self.broker.take_mutations());
                    commit_queue.sync(Clock::now())?;
                }
                return Ok(());
            }
            self.wait(events)?;
            for event in events.iter() {
                if let Some(index) = event.token().0.checked_sub(self.listeners.len()) {
                    self.handle_ready(index, event);
                }
            }
        }
    }
}

/// Returns a random number. Identifiers only have to differ, so the clock is enough if the system has no random bytes.
fn random() -> u128 {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        let since = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default();
        return since.as_nanos();
    }
    u128::from_ne_bytes(bytes)
}
