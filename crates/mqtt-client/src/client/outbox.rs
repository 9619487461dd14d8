//! [`Outbox`] is the bounded queue from the callers of a client to its thread.

#[cfg(all(test, feature = "async"))]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use mqtt_codec::{
    QoS, ReasonCode, SubscribeProperties, Subscription, TopicFilter, TopicName,
    UnsubscribeProperties,
};
use mqtt_session::OutboundMessage;

use super::completion::Slot;
use super::error::{ConnectError, PublishError, SubscribeError};
use super::inbound::Handle;
use super::waiting::lock;
use super::wakers::Wakers;

pub(super) type PublishSlot = Arc<Slot<Result<(), PublishError>>>;
pub(super) type SubscribeSlot = Arc<Slot<Result<Vec<ReasonCode>, SubscribeError>>>;

/// Message that a caller has published.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) outgoing: OutboundMessage,
    pub(super) slot: PublishSlot,
}

impl Publication {
    pub(super) fn topic_name(&self) -> TopicName {
        self.outgoing.message.topic_name.clone()
    }

    /// Returns the number of bytes for which the message counts in the queue.
    fn size(&self) -> usize {
        let message = &self.outgoing.message;
        message.payload.len() + message.topic_name.len()
    }
}

/// Request that is not a message.
#[derive(Debug)]
pub(super) enum Request {
    Subscribe {
        subscriptions: Vec<Subscription>,
        properties: SubscribeProperties,
        slot: SubscribeSlot,
    },
    Unsubscribe {
        topic_filters: Vec<TopicFilter>,
        properties: UnsubscribeProperties,
        slot: SubscribeSlot,
    },
}

impl Request {
    /// Returns `true` if a caller still waits for the result.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            Self::Subscribe { slot, .. } | Self::Unsubscribe { slot, .. } => {
                Arc::strong_count(slot) > 1
            }
        }
    }
}

/// Bounded queue of messages and requests.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    has_room: Condvar,
    pub(super) wakers: Wakers,
    waker: Waker,
    maximum_messages: usize,
    maximum_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    publications: VecDeque<Publication>,
    /// Sum of the sizes of `publications` in bytes.
    bytes: usize,
    requests: VecDeque<Request>,
    /// Acknowledgements of received messages. They have a queue of their own, because they are as frequent as messages,
    /// and no caller waits for their result.
    acknowledgements: Vec<(Handle, ReasonCode)>,
    /// Number of callers that wait for room.
    waiting: usize,
    /// Set while the owner of the driver waits and accepts messages, so that a new message must wake it.
    wakes_for_publications: bool,
    /// Set while the owner of the driver waits, so that a new request must wake it.
    wakes_for_requests: bool,
    /// Set while the driver is idle, because a reader that has borrowed it handles messages. Acknowledgements then wait
    /// until the reader or the thread runs the driver; waking the thread for each would make the loan useless.
    is_idle: bool,
    is_connected: bool,
    /// Deadline for finishing the accepted messages. `None` while the client accepts messages and requests.
    closing: Option<Instant>,
    /// Reason why the thread has ended.
    end: Option<ConnectError>,
}

impl Outbox {
    pub(super) fn new(waker: Waker, maximum_messages: usize, maximum_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            has_room: Condvar::new(),
            wakers: Wakers::default(),
            waker,
            maximum_messages,
            maximum_bytes,
        }
    }

    /// Adds a message. If the queue is full, waits for room until the deadline.
    pub(super) fn publish(
        &self,
        publication: Publication,
        deadline: Option<Instant>,
    ) -> Result<(), PublishError> {
        let mut state = lock(&self.state);
        while !state.has_room_for(&publication, self)? {
            let now = Instant::now();
            let Some(left) = deadline
                .map(|deadline| deadline.saturating_duration_since(now))
                .filter(|left| !left.is_zero())
            else {
                let topic_name = publication.topic_name();
                return Err(PublishError::QueueFull { topic_name });
            };
            state.waiting += 1;
            state = match self.has_room.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
            state.waiting -= 1;
        }
        self.add(state, publication);
        Ok(())
    }

    /// Adds the message if the queue has room, and takes it out of `publication`. Returns `None` if the queue is full.
    #[cfg(feature = "async")]
    pub(super) fn poll_publish(
        &self,
        publication: &mut Option<Publication>,
    ) -> Option<Result<(), PublishError>> {
        let state = lock(&self.state);
        match state.has_room_for(publication.as_ref()?, self) {
            Ok(true) => self.add(state, publication.take()?),
            Ok(false) => return None,
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(()))
    }

    fn add(&self, mut state: MutexGuard<'_, State>, publication: Publication) {
        state.bytes += publication.size();
        state.publications.push_back(publication);
        // One wake-up is enough until the thread waits again. This saves a system call for most messages.
        let wakes = std::mem::take(&mut state.wakes_for_publications);
        self.wake(state, wakes);
    }

    /// Adds a request.
    pub(super) fn request(&self, request: Request) -> Result<(), ConnectError> {
        let mut state = lock(&self.state);
        state.check_open()?;
        // While the connection is lost, callers may time out and repeat their requests. Without the removal the queue
        // would grow.
        state.requests.retain(Request::is_wanted);
        state.requests.push_back(request);
        let wakes = std::mem::take(&mut state.wakes_for_requests);
        self.wake(state, wakes);
        Ok(())
    }

    /// Adds the acknowledgement of a message. While the client is closing, the application may still acknowledge
    /// messages that it has received. A client that has ended ignores the call, and the server will deliver the message
    /// again.
    ///
    /// Returns the number of acknowledgements that the driver has not sent yet.
    pub(super) fn acknowledge(&self, handle: Handle, reason_code: ReasonCode) -> usize {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return 0;
        }
        state.acknowledgements.push((handle, reason_code));
        let unsent = state.acknowledgements.len();
        self.wake_unless_idle(state);
        unsent
    }

    /// Wakes the thread of the client after a change outside this queue.
    pub(super) fn wake_thread(&self) {
        self.wake_unless_idle(lock(&self.state));
    }

    /// Wakes the thread of the client, even if another caller has just woken it.
    pub(super) fn wake_for_request(&self) {
        self.waker.wake_by_ref();
    }

    fn wake_unless_idle(&self, mut state: MutexGuard<'_, State>) {
        let wakes = !state.is_idle && std::mem::take(&mut state.wakes_for_requests);
        self.wake(state, wakes);
    }

    /// Rejects further messages and requests. The client ends when it has finished the accepted messages, but at the
    /// deadline at the latest.
    pub(super) fn close(&self, deadline: Instant) {
        let mut state = lock(&self.state);
        // A second call can only shorten the time, because the first caller waits for the end.
        let earlier = state.closing.map_or(deadline, |other| other.min(deadline));
        state.closing = Some(earlier);
        let wakes = std::mem::take(&mut state.wakes_for_requests);
        // Callers that wait for room get an error now.
        self.wake_callers(state);
        if wakes {
            self.waker.wake_by_ref();
        }
    }

    /// Wakes all callers that wait for room: threads and futures. If only one caller were woken, its message could be
    /// larger than the room.
    fn wake_callers(&self, state: MutexGuard<'_, State>) {
        let has_waiting = state.waiting > 0;
        drop(state);
        // Notifying is a system call even if no thread waits.
        if has_waiting {
            self.has_room.notify_all();
        }
        self.wakers.wake();
    }

    fn wake(&self, state: MutexGuard<'_, State>, wakes: bool) {
        // The lock is released first, so that the woken thread does not have to wait for it.
        drop(state);
        if wakes {
            self.waker.wake_by_ref();
        }
    }

    /// Moves at most `maximum` messages to the end of `publications`.
    pub(super) fn take_publications(
        &self,
        publications: &mut VecDeque<Publication>,
        maximum: usize,
    ) {
        let mut state = lock(&self.state);
        let count = maximum.min(state.publications.len());
        let taken: usize = state
            .publications
            .iter()
            .take(count)
            .map(Publication::size)
            .sum();
        state.bytes -= taken;
        publications.extend(state.publications.drain(..count));
        if count > 0 {
            self.wake_callers(state);
        }
    }

    /// Moves all requests to the end of `requests`, and exchanges the acknowledgements for the empty
    /// `acknowledgements`.
    pub(super) fn take_requests(
        &self,
        requests: &mut VecDeque<Request>,
        acknowledgements: &mut Vec<(Handle, ReasonCode)>,
    ) {
        let mut state = lock(&self.state);
        requests.append(&mut state.requests);
        std::mem::swap(&mut state.acknowledgements, acknowledgements);
    }

    /// Returns the deadline for the end of the client, or `None` while the client accepts requests.
    pub(super) fn closing(&self) -> Option<Instant> {
        lock(&self.state).closing
    }

    /// Returns `true` if the thread may wait, because the queue contains nothing that it accepts now. From here on a
    /// caller must wake the thread.
    pub(super) fn begin_wait(&self, takes_publications: bool, known_closing: bool) -> bool {
        let mut state = lock(&self.state);
        state.is_idle = false;
        // The check and the flags are under one lock, so that no caller can add work between them.
        let has_work = !state.acknowledgements.is_empty()
            || state.has_work(takes_publications)
            || state.closing.is_some() != known_closing;
        state.set_wakes(takes_publications, has_work);
        !has_work
    }

    /// Records that the driver is idle. Returns `true` if the queue contains work that must not wait for a reader. If
    /// it does not, a caller that adds such work must wake the thread.
    pub(super) fn begin_idle(&self, takes_publications: bool) -> bool {
        let mut state = lock(&self.state);
        state.is_idle = true;
        let has_work = state.has_work(takes_publications) || state.closing.is_some();
        state.set_wakes(takes_publications, has_work);
        has_work
    }

    /// Records that the connection was accepted or is lost. If it is lost, returns the messages of QoS 0 in the queue.
    pub(super) fn set_connected(&self, is_connected: bool) -> VecDeque<Publication> {
        let mut state = lock(&self.state);
        state.is_connected = is_connected;
        if is_connected {
            return VecDeque::new();
        }
        let lost = take_at_most_once(&mut state.publications);
        state.bytes = state.publications.iter().map(Publication::size).sum();
        // The removed messages have made room. Callers that wait with a message of QoS 0 get an error.
        self.wake_callers(state);
        lost
    }

    /// Records that the thread has ended. Returns the messages and requests that the thread has not handled.
    pub(super) fn end(&self, error: &ConnectError) -> (VecDeque<Publication>, VecDeque<Request>) {
        let mut state = lock(&self.state);
        state.end.get_or_insert_with(|| error.clone());
        state.is_connected = false;
        state.bytes = 0;
        let rest = (
            std::mem::take(&mut state.publications),
            std::mem::take(&mut state.requests),
        );
        self.wake_callers(state);
        rest
    }

    pub(super) fn is_connected(&self) -> bool {
        lock(&self.state).is_connected
    }

    /// Returns the number of messages in the queue.
    pub(super) fn publications(&self) -> usize {
        lock(&self.state).publications.len()
    }
}

impl State {
    /// Returns `true` if a request waits, or a message that the driver takes now.
    fn has_work(&self, takes_publications: bool) -> bool {
        !self.requests.is_empty() || takes_publications && !self.publications.is_empty()
    }

    fn set_wakes(&mut self, takes_publications: bool, has_work: bool) {
        self.wakes_for_publications = takes_publications && !has_work;
        self.wakes_for_requests = !has_work;
    }

    fn check_open(&self) -> Result<(), ConnectError> {
        match &self.end {
            Some(error) => Err(error.clone()),
            None if self.closing.is_some() => Err(ConnectError::Closed),
            None => Ok(()),
        }
    }

    /// Returns `true` if the queue has room for a message, and an error if the client does not accept it.
    fn has_room_for(
        &self,
        publication: &Publication,
        outbox: &Outbox,
    ) -> Result<bool, PublishError> {
        self.check_publication(publication)?;
        // A message above the limit of bytes is accepted into an empty queue. Otherwise its caller could never succeed.
        let is_empty = self.publications.is_empty();
        let has_bytes = self.bytes + publication.size() <= outbox.maximum_bytes || is_empty;
        Ok(self.publications.len() < outbox.maximum_messages && has_bytes)
    }

    fn check_publication(&self, publication: &Publication) -> Result<(), PublishError> {
        let topic_name = || publication.topic_name();
        self.check_open().map_err(|reason| PublishError::Closed {
            topic_name: topic_name(),
            reason,
        })?;
        if publication.outgoing.qos == QoS::AtMostOnce && !self.is_connected {
            let topic_name = topic_name();
            return Err(PublishError::Disconnected { topic_name });
        }
        Ok(())
    }
}

/// Removes the messages of QoS 0 from a queue and returns them.
pub(super) fn take_at_most_once(publications: &mut VecDeque<Publication>) -> VecDeque<Publication> {
    let (mut taken, mut kept) = (VecDeque::new(), VecDeque::new());
    for publication in publications.drain(..) {
        match publication.outgoing.qos {
            QoS::AtMostOnce => taken.push_back(publication),
            _ => kept.push_back(publication),
        }
    }
    *publications = kept;
    taken
}
