//! [`Server`]: the process around the broker core. One thread runs a loop of turns. In each turn the server waits for
//! events, reads from sockets, passes the bytes to [`Broker`], and writes its output.
//!
//! The server decides nothing about MQTT. It owns everything that the core must not have: sockets, the clock, files and
//! threads. Two threads do work that would block the loop: one commits the store, and one hashes passwords. Both wake
//! the loop when they have finished.

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
mod supervision;
mod write;

pub use error::{ListenError, ServerError};
pub use listener_policy::check;
pub use log_feed::{LogFeed, LogKind};
pub use memory::MemoryGauge;
pub use supervision::Report;

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
use self::supervision::Supervision;
use crate::auth::Passwords;
use crate::auth::verifier::PasswordVerifier;
use crate::{BrokerConfig, Clock, ListenerConfig};

/// A signal requests the end of the server. The listeners and sockets have the tokens from 0 up, so special tokens
/// begin at the other end.
const STOP: Token = Token(usize::MAX - 1);

/// A signal requests a reload of the configuration.
const RELOAD: Token = Token(usize::MAX - 2);

/// A thread has finished its work: a password was checked, or a commit was made.
const DONE: Token = Token(usize::MAX - 3);

/// A signal requests a commit of the store.
const SAVE: Token = Token(usize::MAX - 5);

/// A signal requests a dump of subscriptions and retained messages into the log.
const DUMP: Token = Token(usize::MAX - 6);

/// `rbroker status` has connected to the status socket.
#[cfg(unix)]
const STATUS: Token = Token(usize::MAX - 4);

/// The time for which the socket of an ended connection stays open and is read. If a socket is closed while received
/// bytes are unread, the system discards the last output, and the peer does not receive the reason in DISCONNECT or
/// CONNACK.
const LINGER: Duration = Duration::from_secs(1);

/// The pause before the server accepts connections again after a failure, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Maximum time from the request to stop until the server ends. Clients that do not close their connections are cut off
/// then.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A broker with its sockets.
pub struct Server {
    /// The configuration at the start. A reload does not change this field, but the broker and the listeners.
    config: BrokerConfig,
    poll: Poll,
    listeners: Vec<BoundListener>,
    broker: Broker,
    commit_queue: Option<CommitQueue>,
    /// Connections that waited for the last commit, which failed because the disk is full. They are ended if the next
    /// attempt fails too.
    held: Vec<ConnectionId>,
    sockets: SocketTable,
    schedule: Schedule,
    /// Listeners at which more connections may wait than one turn accepts.
    accepting: Vec<usize>,
    /// Connections whose output must be written in the next turn, because the socket has room again or the last turn
    /// has written enough.
    writable: Vec<ConnectionId>,
    /// The buffer that is used for each read. A socket keeps a buffer of its own only while it has the start of a
    /// packet, so ten thousand idle connections have none.
    spare_buffer: Option<Box<ReadBuffer>>,
    /// The sockets of ended connections, with the time at which each is closed, in the order of these times.
    lingering: Vec<(Instant, usize)>,
    /// Descriptors that are kept back from clients.
    reserve: Reserve,
    /// The end of the pause after connections could not be accepted.
    retry_accept: Option<Instant>,
    /// Measures the memory of the process.
    memory: memory::Memory,
    /// Set while connections cannot be accepted, so that the failure is logged once.
    cannot_accept: bool,
    /// The passwords of each listener, by its number. `None` for a listener without a password file.
    passwords: Vec<Option<Arc<Passwords>>>,
    /// The thread that checks passwords. `None` until a client sends the first password.
    password_verifier: Option<PasswordVerifier>,
    /// Wakes the loop when a thread has finished its work.
    waker: Arc<Waker>,
    /// Reads the configuration again for a reload.
    reader: Option<Reader>,
    /// The pipes that become readable when a signal arrives.
    signals: Vec<(Token, SignalSource)>,
    /// Set while a dump has more lines.
    is_dumping: bool,
    /// The time of the next publication below `$SYS`. `None` if these topics are not published.
    statistics_due: Option<Instant>,
    /// The lines of the log to publish. `None` without `log_dest topic`.
    log_feed: Option<LogFeed>,
    /// Sends reports to the supervisor, if there is one.
    supervision: Option<Supervision>,
    /// The socket that answers `rbroker status`.
    #[cfg(unix)]
    status: Option<status::StatusSocket>,
    /// Set if more programs may have connected to the status socket.
    #[cfg(unix)]
    status_is_waiting: bool,
}

/// A function that reads the configuration again. The server logs its error.
type Reader = Box<dyn FnMut() -> Result<BrokerConfig, String>>;

/// An open listener.
#[derive(Debug)]
pub(crate) struct BoundListener {
    pub(crate) listener: Listener,
    /// The address, for log lines.
    pub(crate) name: String,
    /// The socket address. `None` for a Unix socket.
    address: Option<SocketAddr>,
    /// The configuration of the listener. `None` for a listener that the server opens without a configuration.
    pub(crate) config: Option<ListenerConfig>,
    /// The number of earlier listeners in the configuration with the same host and port. A reload finds the same
    /// listener by it. With port 0 several listeners may have the same host and port.
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
    /// Binds the listeners of the configuration. If the configuration has no listeners, the server binds
    /// `default_ports` at the loopback addresses, and admits every client unless the configuration says otherwise.
    /// Binding is separate from `open`, because ports below 1024 must be bound before the process gives up the rights
    /// of root.
    ///
    /// # Errors
    /// Returns an error if a listener cannot be bound. No listener stays open then.
    pub fn bind(config: BrokerConfig, default_ports: &[u16]) -> Result<Self, ServerError> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        let waker = Arc::new(Waker::new(poll.registry(), DONE)?);
        let local_only = config.listeners.is_empty();
        if local_only {
            // As mosquitto 2 does: without a configuration, no other machine can connect.
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
            supervision: None,
            #[cfg(unix)]
            status: None,
            #[cfg(unix)]
            status_is_waiting: false,
        })
    }

    /// Reads certificates, password files, ACL files and the store. The process must already run as the configured
    /// user, because this user must also be able to read these files at a reload and to write the store.
    ///
    /// # Errors
    /// Returns an error if one of these files cannot be used.
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
        // After the policies are set: wills that are due are published when the store is restored, with their
        // permissions.
        let commit_queue = store.map(|path| {
            let waker = Arc::clone(&self.waker);
            CommitQueue::open(&path, self.config.sync, &mut self.broker, waker)
        });
        self.commit_queue = commit_queue.transpose()?;
        self.statistics_due = self.broker.statistics_interval().map(|_| Instant::now());
        Ok(())
    }

    /// Sets the observer, which is called for each packet of the connections that are opened from now on.
    pub fn observe(&mut self, observer: mqtt_session::Observer) {
        self.broker.observe(observer);
    }

    /// Returns the size of the store in bytes and `max_store_bytes`, if there is such a limit. The size does not
    /// include the part of the file that was never written. Returns `None` without a store.
    pub fn store_size(&self) -> Option<(u64, Option<u64>)> {
        let limit = self.broker.limits().maximum_store_bytes;
        let limit = (limit < u64::MAX).then_some(limit);
        self.commit_queue
            .as_ref()
            .map(|commit_queue| (commit_queue.size(), limit))
    }

    /// Returns the socket addresses of the listeners, without Unix sockets.
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

    /// Makes `run` end when `source` is readable.
    ///
    /// # Errors
    /// Returns an error if the source cannot be polled.
    pub fn stop_on(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poll
            .registry()
            .register(source, STOP, Interest::READABLE)
    }

    /// Serves clients until a source of `stop_on` is readable. Then disconnects the clients and stores all mutations.
    ///
    /// # Errors
    /// Returns an error if the server cannot wait for events, or if the store has failed.
    pub fn run(&mut self) -> Result<(), ServerError> {
        let mut events = Events::with_capacity(1024);
        while !self.turn(&mut events)? {}
        self.shut_down(&mut events)
    }

    /// Runs one turn: waits, reads, handles and writes. Returns `true` if the server must stop.
    fn turn(&mut self, events: &mut Events) -> Result<bool, ServerError> {
        self.wait(events)?;
        // One time for the whole turn, so that all its decisions agree.
        let now = Instant::now();
        let mut stop = false;
        // Before anything is accepted or read, because the result decides what the broker accepts.
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
        // After `serve`, so that a packet that arrived in time is handled before the keep alive of its connection
        // expires.
        self.handle_timeout(now);
        self.publish_statistics(now);
        self.report_alive(now);
        self.publish_log_lines(now);
        // Last, so that the commit and the output contain everything of this turn.
        self.write(now)?;
        self.end_lingering(now);
        // A closed socket has freed a descriptor, so the pause ends. Otherwise the server would accept one connection
        // per pause while clients wait in the backlog of the listener.
        if let (true, Some(retry_at)) = (self.sockets.take_closed(), &mut self.retry_accept) {
            *retry_at = now;
        }
        Ok(stop)
    }

    /// Waits for events until the next deadline, or not at all if work is left.
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
            self.alive_due(),
        ];
        // If work is left, new events are still collected, but without waiting. Otherwise busy connections would keep
        // the others from being served.
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
        // A signal interrupts the wait. Its handler has written to a pipe, which the next turn finds readable.
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Handles the deadlines of the broker that have passed.
    fn handle_timeout(&mut self, now: Instant) {
        if self.broker.poll_timeout().is_some_and(|due| due <= now) {
            self.broker.handle_timeout(now);
        }
    }

    /// Publishes the topics below `$SYS`, if that is due.
    fn publish_statistics(&mut self, now: Instant) {
        if self.statistics_due.is_some_and(|due| due <= now) {
            self.broker.publish_statistics(now);
            let interval = self.broker.statistics_interval();
            self.statistics_due = interval.map(|interval| now + interval);
        }
    }

    /// Disconnects the clients, waits a limited time until they have read DISCONNECT, and stores all mutations.
    fn shut_down(&mut self, events: &mut Events) -> Result<(), ServerError> {
        log::info!(target: EVENTS, "Shutting down.");
        self.report(Report::Stopping);
        // No more connections are accepted.
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
            // `take_mutations` returns nothing while a publication is delivered in slices, so the publication must end
            // before the last commit.
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

/// Returns random bits for client identifiers. If the system has no random bytes, the time suffices, because the
/// identifiers must only be different.
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
