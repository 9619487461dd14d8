//! [`Server`]: the process around the broker core. One thread runs a loop of turns. In each turn the server waits for
//! events, reads from sockets, passes the bytes to [`Broker`], and writes its output.
//!
//! The server decides nothing about MQTT. It owns everything that the core must not have: sockets, the clock, files and
//! threads. Two threads do work that would block the loop: one commits the store, and one hashes passwords. Both wake
//! the loop when they have finished.

use super::acceptor::Acceptor;
use super::commits::Commits;
use super::error::ServerError;
use super::listener::listener_transport;
use super::listener_policy;
use super::memory::Memory;
use super::password_checks::PasswordChecks;
use super::reports::Reports;
use super::signals::Signals;
use super::sockets::state::Sockets;
#[cfg(unix)]
use super::status;
use super::supervision::Report;
#[cfg(unix)]
use super::tokens::STATUS;
use super::tokens::{DONE, DUMP, RELOAD, SAVE, STOP};
use crate::config::model::BrokerConfig;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use mqtt_broker_core::{Broker, EVENTS};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

/// Maximum time for which the server waits at shutdown until the clients have closed their connections. A commit that
/// is still in progress then gets the same time again.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A broker with its sockets.
pub struct Server {
    /// The configuration at the start. A reload changes the broker and the listeners, but not this field.
    pub(super) config: BrokerConfig,
    pub(super) poll: Poll,
    pub(super) broker: Broker,
    pub(super) acceptor: Acceptor,
    pub(super) sockets: Sockets,
    pub(super) commits: Commits,
    pub(super) passwords: PasswordChecks,
    pub(super) reports: Reports,
    /// Measures the memory of the process.
    pub(super) memory: Memory,
    pub(super) signals: Signals,
    /// Reads the configuration again for a reload.
    pub(super) reader: Option<Reader>,
}

/// A function that reads the configuration again. The server logs its error.
type Reader = Box<dyn FnMut() -> Result<BrokerConfig, String>>;

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.acceptor.listeners)
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
        let waker = Arc::new(Waker::new(poll.registry(), DONE)?);
        let acceptor = Acceptor::bind(&config, default_ports, poll.registry())?;
        Ok(Self {
            broker: Broker::new(config.limits.clone(), Box::new(random)),
            config,
            poll,
            acceptor,
            sockets: Sockets::default(),
            commits: Commits::new(Arc::clone(&waker)),
            passwords: PasswordChecks::new(waker),
            reports: Reports::default(),
            memory: Memory::default(),
            signals: Signals::default(),
            reader: None,
        })
    }

    /// Reads certificates, password files, ACL files and the store. The process must already run as the configured
    /// user, because this user must also be able to read these files at a reload and to write the store.
    ///
    /// # Errors
    /// Returns an error if one of these files cannot be used.
    pub fn open(&mut self) -> Result<(), ServerError> {
        let listeners = &mut self.acceptor.listeners;
        let auth = listener_policy::of_listeners(&self.config, listeners)?;
        for bound in &mut *listeners {
            if let Some(own) = &bound.config {
                bound.listener.set_transport(listener_transport(own)?);
            }
        }
        listener_policy::announce(listeners, &auth);
        listener_policy::warn_of_exposed_files(&self.config, listeners);
        self.passwords.replace(&mut self.broker, auth);
        // The store is opened after the policies are set. Opening publishes the wills that are due, and their
        // publication needs the permissions of their clients.
        if let Some(path) = self.config.store() {
            self.commits
                .open(&mut self.broker, &path, self.config.sync)?;
        }
        self.reports.begin_statistics(&self.broker);
        Ok(())
    }

    /// Serves clients until a source of `stop_on` is readable. Then disconnects the clients and stores all mutations.
    ///
    /// # Errors
    /// Returns an error if the server cannot wait for events, or if the store has failed.
    pub fn run(&mut self) -> Result<(), ServerError> {
        // Further events are returned by the poll of the next turn.
        let mut events = Events::with_capacity(1024);
        while !self.turn(&mut events)? {}
        self.shut_down(&mut events)
    }

    /// Runs one turn: waits, reads, handles and writes. Returns `true` if the server must stop.
    fn turn(&mut self, events: &mut Events) -> Result<bool, ServerError> {
        self.wait(events)?;
        // The whole turn uses this time, so that all its decisions agree.
        let now = Instant::now();
        // The memory is measured before anything is accepted or read, because the result decides what the broker
        // accepts.
        self.memory.measure(&mut self.broker);
        let registry = self.poll.registry();
        self.acceptor
            .accept_more(&mut self.broker, &mut self.sockets, registry, now);
        let mut stop = false;
        for event in events.iter() {
            stop |= event.token() == STOP;
            self.handle_event(now, event);
        }
        let registry = self.poll.registry();
        self.acceptor
            .accept_after_pause(&mut self.broker, &mut self.sockets, registry, now);
        self.sockets.serve(&mut self.broker, &mut self.memory, now);
        #[cfg(unix)]
        if self.reports.may_have_questions() {
            self.answer_status_questions(now);
        }
        self.reports.continue_dump(&mut self.broker);
        self.passwords
            .exchange(&mut self.broker, &mut self.sockets, now);
        // Deadlines are handled after `serve`, so that a packet that arrived in time is handled before the keep alive
        // of its connection expires.
        self.handle_timeout(now);
        self.reports.publish_statistics(&mut self.broker, now);
        self.reports.supervision.report_alive(now);
        self.reports.publish_log_lines(&mut self.broker, now);
        // Writing comes last, so that the commit and the output contain everything of this turn.
        self.write(now)?;
        self.sockets.end_lingering(&mut self.broker, now);
        // A closed socket has freed a descriptor, so the pause ends. Otherwise the server would accept one connection
        // per pause while clients wait in the backlog of the listener.
        if self.sockets.table.take_closed() {
            self.acceptor.end_pause(now);
        }
        Ok(stop)
    }

    /// Waits for events until the next deadline, or not at all if work is left.
    fn wait(&mut self, events: &mut Events) -> Result<(), ServerError> {
        let deadlines = [
            self.broker.poll_timeout(),
            self.sockets.poll_timeout(),
            self.acceptor.poll_timeout(),
            self.passwords.poll_timeout(),
            self.commits.poll_timeout(),
            self.reports.poll_timeout(),
        ];
        // If work is left, new events are still collected, but without waiting. Otherwise busy connections would keep
        // the others from being served.
        let has_work = self.sockets.has_work()
            || self.acceptor.has_work()
            || self.broker.has_background_work()
            || self.reports.has_work();
        let timeout = if has_work {
            Some(Duration::ZERO)
        } else {
            let first = deadlines.into_iter().flatten().min();
            first.map(|first| first.saturating_duration_since(Instant::now()))
        };
        // A signal interrupts the wait. The signal handler has written to a pipe, and the poll of the next turn reports
        // the pipe as readable.
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Handles one event of the poll.
    fn handle_event(&mut self, now: Instant, event: &Event) {
        // The tokens of listeners begin at 0, and those of sockets follow. The tokens of `tokens.rs` are the highest
        // numbers.
        let listeners = self.acceptor.listeners.len();
        match event.token() {
            STOP | DONE => {} // the caller stops; results of threads are taken in each turn
            token @ (RELOAD | SAVE | DUMP) => self.handle_signal(token),
            #[cfg(unix)]
            STATUS => self.answer_status_questions(now),
            Token(index) if index < listeners => {
                let registry = self.poll.registry();
                let (broker, sockets) = (&mut self.broker, &mut self.sockets);
                self.acceptor.accept(broker, sockets, registry, now, index);
            }
            Token(token) => self.sockets.handle_ready(token - listeners, event),
        }
    }

    /// Handles the signal of `token`.
    fn handle_signal(&mut self, token: Token) {
        self.signals.drain(token);
        match token {
            RELOAD => {
                self.reports.supervision.report(Report::Reloading);
                // The files of the configuration need descriptors, which clients may have taken.
                self.acceptor.reserve.release();
                self.reload();
                self.reports.supervision.report(Report::Ready);
                let _ = self.acceptor.reserve.fill(); // after a failure, `accept` tries again
            }
            DUMP => self.broker.begin_dump(),
            SAVE => self.commits.request_sync(),
            _ => {}
        }
    }

    /// Handles the deadlines of the broker that have passed.
    fn handle_timeout(&mut self, now: Instant) {
        if self.broker.poll_timeout().is_some_and(|due| due <= now) {
            self.broker.handle_timeout(now);
        }
    }

    /// Writes the output that waits for no commit, and begins the commit of the mutations that this turn has made.
    ///
    /// # Errors
    /// Returns an error if the store has failed.
    fn write(&mut self, now: Instant) -> Result<(), ServerError> {
        // The end of a commit makes output writable, so it comes first. Writing comes before the next commit, because
        // the messages that are sent into the free room of the output make mutations too.
        self.commits.end_commit(&mut self.broker, now)?;
        self.sockets.write(&mut self.broker, now);
        self.commits.begin_commit(&mut self.broker)?;
        // Connections that waited for a commit or for room in their output are read in the next turn.
        self.sockets.resume_connections(&mut self.broker);
        Ok(())
    }

    /// Answers the programs that have connected to the status socket. Their sockets use descriptors of the reserve, so
    /// that `rbroker status` works when clients have taken all others.
    #[cfg(unix)]
    fn answer_status_questions(&mut self, now: Instant) {
        self.acceptor.reserve.release();
        if let Some(status) = &mut self.reports.status {
            let (broker, sockets) = (&mut self.broker, &self.sockets);
            let (commits, acceptor) = (&self.commits, &self.acceptor);
            status.answer(|| status::status_text(broker, sockets, commits, acceptor, now));
        }
        let _ = self.acceptor.reserve.fill(); // after a failure, `accept` tries again
    }

    /// Disconnects the clients, waits a limited time until they have read DISCONNECT, and stores all mutations.
    fn shut_down(&mut self, events: &mut Events) -> Result<(), ServerError> {
        log::info!(target: EVENTS, "Shutting down.");
        self.reports.supervision.report(Report::Stopping);
        self.acceptor.stop(self.poll.registry())?;
        self.reports.end_statistics();
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        self.broker.shut_down(Instant::now());
        loop {
            let now = Instant::now();
            self.passwords
                .exchange(&mut self.broker, &mut self.sockets, now);
            self.handle_timeout(now);
            // The DISCONNECT packets are written first. Reading then notices the clients that have closed their
            // connections.
            self.write(now)?;
            self.sockets.serve(&mut self.broker, &mut self.memory, now);
            self.sockets.end_lingering(&mut self.broker, now);
            // `take_mutations` returns nothing while a publication is delivered in slices, so the publication must end
            // before the last commit.
            let is_done = self.sockets.is_empty() && !self.broker.has_background_work();
            if is_done || now >= deadline {
                return self.commits.sync(&mut self.broker, SHUTDOWN_TIMEOUT);
            }
            self.wait(events)?;
            for event in events.iter() {
                let listeners = self.acceptor.listeners.len();
                if let Some(index) = event.token().0.checked_sub(listeners) {
                    self.sockets.handle_ready(index, event);
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
