//! [`Driver`] is the code of a client's thread, which a busy reader runs in its place (see
//! [`Handover`](super::handover::Handover)). It runs the event loop and handles the requests of callers. The event
//! loop is behind the trait [`Link`], so that a test runs the same code without sockets and threads (`simulation`).
//!
//! ```text
//!  callers ─> Outbox ─> Driver ─> EventLoop ─> server
//!  callers <─ Slot, Inbox, Events <─ Driver <─ EventLoop <─ server
//! ```

mod handler;
mod link;
#[cfg(test)]
mod simulation;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mqtt_codec::{Disconnect, QoS, ReasonCode, TopicName};
use mqtt_session::PublishError as SendError;

use self::handler::Handler;
use self::link::Link;
use super::error::{ConnectError, PublishError, SubscribeError};
use super::event_queue::ClientEvent;
use super::inbound::Handle;
use super::outbox::{Publication, Request, take_at_most_once};
use super::shared::{Drive, Ending, Shared};
use super::subscriptions;
use crate::event_loop::{EventLoop, Wakeup};

/// Number of bytes waiting for the socket at which the driver sends no further message.
const MAXIMUM_UNWRITTEN: usize = 256 * 1024;

/// Maximum number of messages that the driver takes from the callers' queue at a time. Small batches let blocked
/// callers continue early.
const BATCH: usize = 64;

/// Minimum time for writing the last bytes and DISCONNECT, even if the caller's deadline has passed.
const SHORTEST_GOODBYE: Duration = Duration::from_millis(100);

/// State of a client's connection, which has one owner at a time: the thread of the client or a reader.
#[derive(Debug)]
pub(super) struct Driver<L: Link> {
    link: L,
    handler: Handler,
    /// Messages that wait for a connection or for room in flight (the Receive Maximum of the server). The first one is
    /// sent next.
    publications: VecDeque<Publication>,
    /// Requests that wait for a connection.
    requests: VecDeque<Request>,
    /// Acknowledgements of the application. Empty between turns; as a field, the vector keeps its allocated memory.
    acknowledgements: Vec<(Handle, ReasonCode)>,
    shared: Arc<Shared>,
}

impl<L: Link> Driver<L> {
    pub(super) fn new(link: L, shared: Arc<Shared>) -> Self {
        Self {
            link,
            handler: Handler::new(Arc::clone(&shared)),
            publications: VecDeque::new(),
            requests: VecDeque::new(),
            acknowledgements: Vec::new(),
            shared,
        }
    }

    /// Runs one turn; see [`Drive::turn`].
    fn turn(&mut self, deadline: Option<Instant>, closing: Option<Instant>) -> Result<(), Ending> {
        self.handler.is_closing = closing.is_some();
        let mut reader_timeout = None;
        if self.link.is_paused() {
            self.shared.inbox.handle_timeout(Instant::now());
            reader_timeout = self.shared.inbox.poll_timeout();
            // If the server has closed the connection, its remaining bytes are read even without room in the inbox.
            // Otherwise an application that does not read would prevent the client from reconnecting. The remaining
            // bytes are few: only those that the operating system has buffered.
            self.handler.takes_rest = self.link.has_hung_up() && !self.shared.inbox.is_overfull();
            let has_room = closing.is_some() || !self.shared.inbox.is_paused();
            if has_room || self.handler.takes_rest {
                self.link.resume();
            }
        }
        self.send_requests();
        self.publish();
        self.link.flush();
        self.report_results();
        if let Some(deadline) = closing {
            if Instant::now() >= deadline || self.unfinished() == 0 {
                return Err(self.say_goodbye(deadline));
            }
        }
        let takes_publications = self.takes_publications();
        let outbox = &self.shared.outbox;
        let may_wait = outbox.begin_wait(takes_publications, closing.is_some())
            // A reader may have made room after the check above, and before its call could wake this thread.
            && (!self.link.is_paused() || self.shared.inbox.is_paused());
        let deadline = if may_wait {
            let all = [deadline, closing, reader_timeout];
            all.into_iter().flatten().min()
        } else {
            Some(Instant::now())
        };
        let handler = &mut self.handler;
        // `poll` may switch to the next server, so the name for its error is read before.
        let server = self.link.server();
        let result = self.link.poll(deadline, |connection, event| {
            handler.handle(connection, event)
        });
        self.finish_turn();
        match result {
            Ok(Wakeup::Disconnected(error, wait)) => {
                self.handle_lost(ConnectError::new(server, error), wait);
            }
            Ok(_) => {}
            Err(error) => {
                return Err(Ending {
                    reason: ConnectError::new(server, error),
                    unfinished: self.unfinished(),
                });
            }
        }
        Ok(())
    }

    /// Returns `true` if the driver takes further messages from the callers' queue. Without a connection, or while
    /// `publications` is not empty, messages stay in the queue. New messages must then not wake the driver.
    fn takes_publications(&self) -> bool {
        self.link.is_connected() && self.publications.is_empty()
    }

    /// Returns the number of accepted messages that the client has not finished.
    fn unfinished(&self) -> usize {
        self.publications.len()
            + self.shared.outbox.publications()
            + self.link.unfinished()
            + self.handler.in_flight.unsent()
    }

    /// Sends the requests of callers. Requests that need a connection wait for one.
    fn send_requests(&mut self) {
        let outbox = &self.shared.outbox;
        outbox.take_requests(&mut self.requests, &mut self.acknowledgements);
        let is_connected = self.link.is_connected();
        for (handle, reason_code) in self.acknowledgements.drain(..) {
            let connection = self.link.connection().filter(|_| is_connected);
            let inbound = &mut self.handler.inbound;
            inbound.acknowledge(connection, handle, reason_code);
        }
        if self.requests.is_empty() {
            return;
        }
        let mut waiting = VecDeque::new();
        while let Some(request) = self.requests.pop_front() {
            let connection = self.link.connection().filter(|_| is_connected);
            match request {
                // The caller has timed out.
                request if !request.is_wanted() => {}
                request => {
                    if let Err(request) = self.handler.subscriptions.send(connection, request) {
                        waiting.push_back(request);
                    }
                }
            }
        }
        self.requests = waiting;
    }

    fn publish(&mut self) {
        if !self.link.is_connected() {
            return;
        }
        loop {
            // Messages are taken only when all earlier ones were sent, so that the limits of the callers' queue stay
            // effective.
            if self.publications.is_empty() {
                let outbox = &self.shared.outbox;
                outbox.take_publications(&mut self.publications, BATCH);
            }
            if self.link.unwritten() >= MAXIMUM_UNWRITTEN {
                // Only a socket that was full reports that it is writable again, so the driver writes before it stops.
                self.link.flush();
                if self.link.unwritten() >= MAXIMUM_UNWRITTEN {
                    return;
                }
            }
            let Some(publication) = self.publications.pop_front() else {
                return;
            };
            let in_flight = &mut self.handler.in_flight;
            match self.link.publish(publication.outgoing.clone()) {
                Ok(Some(packet_identifier)) => in_flight.sent(packet_identifier, publication),
                Ok(None) => {
                    in_flight.sent_at_most_once(self.link.end_of_output(), publication);
                }
                Err(SendError::QuotaUsedUp | SendError::NotConnected) => {
                    // The message keeps its place, because messages are sent in the order in which they were published.
                    self.publications.push_front(publication);
                    return;
                }
                Err(error) => {
                    let error = unsendable(error, publication.topic_name());
                    self.shared.failures.fail(&publication.slot, error);
                    self.handler.has_results = true;
                }
            }
        }
    }

    /// Passes the results of messages and requests to waiting callers.
    fn report_results(&mut self) {
        let written = self.link.written();
        let handler = &mut self.handler;
        let failures = &self.shared.failures;
        handler.in_flight.handle_written(written, failures);
        // `|` evaluates both operands, so that both flags are cleared.
        if handler.in_flight.take_has_results() | std::mem::take(&mut handler.has_results) {
            let unfinished = self.link.unfinished() as u64;
            let counter = &failures.counters.unfinished;
            counter.store(unfinished, Ordering::Relaxed);
            self.shared.completions.notify();
        }
    }

    /// Passes messages and events of this turn to the application.
    fn finish_turn(&mut self) {
        self.handler.room = None;
        // This comes before `reassign`, which takes a message that is neither in the session nor in the backlog for a
        // delivered one.
        self.fail_rejected();
        if !self.handler.arrived.is_empty() {
            let is_full = self.shared.inbox.add(&mut self.handler.arrived);
            if is_full && !self.handler.takes_rest {
                self.link.pause();
            }
        }
        let is_new = self.handler.connack.is_some();
        if is_new || self.handler.in_flight.has_waiting() {
            self.reassign();
        }
        if let Some(connack) = self.handler.connack.take() {
            self.handler.takes_rest = false;
            // The outbox is changed first, because a caller that learns of the connection may publish with QoS 0
            // immediately.
            self.shared.outbox.set_connected(true);
            self.shared.events.add(ClientEvent::Connected { connack });
            self.shared.set_reached();
        }
        self.report_results();
    }

    /// Updates the packet identifiers of messages in flight, after a new connection or while messages of the backlog
    /// wait for theirs.
    fn reassign(&mut self) {
        let backlog = self.link.backlog();
        if let Some(connection) = self.link.connection() {
            let in_flight = &mut self.handler.in_flight;
            in_flight.reassign(connection, backlog.iter(), &self.shared.failures);
        }
    }

    /// Completes the messages that the client has given up.
    fn fail_rejected(&mut self) {
        for rejected in self.link.take_rejected() {
            let topic_name = rejected.message.topic_name.clone();
            let error = match rejected.error {
                Some(error) => unsendable(error, topic_name),
                None => PublishError::TooLarge { topic_name },
            };
            let in_flight = &mut self.handler.in_flight;
            in_flight.fail(&rejected.message, error, &self.shared.failures);
        }
    }

    fn handle_lost(&mut self, reason: ConnectError, wait: Duration) {
        let failures = &self.shared.failures;
        self.handler.in_flight.handle_lost(failures);
        let subscriptions = &mut self.handler.subscriptions;
        subscriptions.handle_lost(&mut self.requests);
        let of_queue = self.shared.outbox.set_connected(false);
        // Messages of QoS 0 are not kept until the next connection. Their callers get the error now.
        let lost = take_at_most_once(&mut self.publications);
        for publication in lost.into_iter().chain(of_queue) {
            failures.lose(&publication.slot, publication.topic_name());
        }
        self.handler.has_results = true;
        self.report_results();
        self.shared.set_last_error(&reason);
        let events = &self.shared.events;
        events.add(ClientEvent::Disconnected { reason });
        events.add(ClientEvent::Reconnecting { wait });
    }

    /// Sends DISCONNECT, and returns the result of the client.
    fn say_goodbye(&mut self, deadline: Instant) -> Ending {
        let unfinished = self.unfinished();
        let left = deadline.saturating_duration_since(Instant::now());
        let disconnect = Disconnect::new(ReasonCode::Success);
        let result = self.link.disconnect(disconnect, left.max(SHORTEST_GOODBYE));
        let reason = match result {
            // All messages of QoS 1 and 2 were acknowledged before DISCONNECT. The unwritten bytes may still contain a
            // message of QoS 0, so the error is reported.
            Err(error) if unfinished == 0 && self.link.unwritten() > 0 => {
                ConnectError::new(self.link.server(), error)
            }
            _ => ConnectError::Closed,
        };
        self.handler
            .in_flight
            .handle_written(self.link.written(), &self.shared.failures);
        Ending { reason, unfinished }
    }

    /// Completes all messages and requests, and wakes all callers.
    fn end(&mut self, ending: Ending) {
        let Ending { reason, .. } = &ending;
        let shared = Arc::clone(&self.shared);
        let (publications, requests) = shared.outbox.end(reason);
        let closed = |topic_name: TopicName| PublishError::Closed {
            topic_name,
            reason: reason.clone(),
        };
        self.handler.in_flight.end(closed, &shared.failures);
        let own = std::mem::take(&mut self.publications);
        for publication in own.into_iter().chain(publications) {
            let topic_name = publication.topic_name();
            match publication.outgoing.qos {
                QoS::AtMostOnce => shared.failures.lose(&publication.slot, topic_name),
                _ => shared.failures.fail(&publication.slot, closed(topic_name)),
            }
        }
        let error = SubscribeError::Closed(reason.clone());
        self.handler.subscriptions.end(&error);
        let own = std::mem::take(&mut self.requests);
        for request in own.into_iter().chain(requests) {
            subscriptions::fail(request, &error);
        }
        shared.set_ended(ending);
    }
}

/// Runs the driver in the thread of the client until the client ends. Lends it to a reader that requests it.
pub(super) fn run(mut driver: Box<dyn Drive>, shared: &Shared) {
    loop {
        if let Err(ending) = driver.turn(None, shared.outbox.closing()) {
            return driver.end(ending);
        }
        if shared.handover.is_requested() {
            shared.release(driver);
            // Without a driver the client has ended while a reader ran it.
            let Some(returned) = shared.handover.wait_for_return() else {
                return;
            };
            driver = returned;
        }
    }
}

impl Drive for Driver<EventLoop> {
    fn turn(&mut self, deadline: Option<Instant>, closing: Option<Instant>) -> Result<(), Ending> {
        Self::turn(self, deadline, closing)
    }

    fn takes_publications(&self) -> bool {
        Self::takes_publications(self)
    }

    fn end(&mut self, ending: Ending) {
        Self::end(self, ending);
    }
}

impl<L: Link> Drop for Driver<L> {
    fn drop(&mut self) {
        // If the client has not ended yet, its owner has panicked. Callers that wait must be woken in this case
        // too.
        if !self.shared.has_ended() {
            self.end(Ending {
                reason: ConnectError::Closed,
                unfinished: self.link.unfinished(),
            });
        }
    }
}

/// Returns the error for a message that cannot be sent to this server.
fn unsendable(error: SendError, topic_name: TopicName) -> PublishError {
    let feature = match error {
        SendError::QoSNotSupported => "this quality of service",
        SendError::RetainNotSupported => "retained messages",
        SendError::Encode(mqtt_codec::EncodeError::PacketTooLarge(_)) => {
            return PublishError::TooLarge { topic_name };
        }
        _ => "a field of the message",
    };
    PublishError::Unsupported {
        topic_name,
        feature,
    }
}
