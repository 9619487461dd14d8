//! [`Inbox`] is the bounded queue of received messages that the application has not read.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::inbound::InboundMessage;
use super::waiting::lock;
use super::wakers::Wakers;

/// Time for which a full queue waits for its first reader. The messages of a resumed session, and retained messages,
/// come before the application has had time to create a reader. While the queue is full, the client reads nothing from
/// the server, not even acknowledgements of published messages. An application that only publishes has no reader and
/// must not be blocked for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bounded queue of received messages.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
    pub(super) wakers: Wakers,
    maximum_messages: usize,
    maximum_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<InboundMessage>,
    /// Sum of the sizes of `messages` in bytes.
    bytes: usize,
    /// Number of [`Messages`](crate::Messages) values.
    readers: usize,
    /// Set once a reader has existed, or the queue has waited long enough for one.
    is_settled: bool,
    /// Time until which the full queue waits for its first reader.
    waits_until: Option<Instant>,
    /// Number of readers that wait for a message.
    waiting: usize,
    /// Set while the client does not read from the server, because the queue is full.
    is_paused: bool,
    has_ended: bool,
}

/// Free room in the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    messages: usize,
    bytes: usize,
    /// Set if the queue has a reader, which will make room, or waits for its first one.
    pub(super) has_reader: bool,
}

impl Room {
    pub(super) fn is_empty(self) -> bool {
        self.messages == 0 || self.bytes == 0
    }

    pub(super) fn take(&mut self, message: &InboundMessage) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(message.size());
    }
}

/// Message from the queue.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) message: InboundMessage,
    /// Set if the thread of the client must be woken, because the queue has room again.
    pub(super) ends_pause: bool,
}

/// The client has ended, and all messages have been read.
#[derive(Debug)]
pub(super) struct Ended;

impl Inbox {
    pub(super) fn new(maximum_messages: usize, maximum_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            wakers: Wakers::default(),
            maximum_messages,
            maximum_bytes,
        }
    }

    pub(super) fn add_reader(&self) {
        let mut state = lock(&self.state);
        state.readers += 1;
        state.is_settled = true;
        state.waits_until = None;
    }

    /// Removes a reader. Returns `true` if the thread must be woken, because a full queue has no reader left.
    pub(super) fn remove_reader(&self) -> bool {
        let mut state = lock(&self.state);
        state.readers = state.readers.saturating_sub(1);
        state.readers == 0 && std::mem::take(&mut state.is_paused)
    }

    /// Returns `true` if there is exactly one reader.
    pub(super) fn has_one_reader(&self) -> bool {
        lock(&self.state).readers == 1
    }

    pub(super) fn room(&self) -> Room {
        let state = lock(&self.state);
        state.room(self)
    }

    /// Adds the messages that arrived in one turn of the driver. Returns `true` if the client must stop reading from
    /// the server, because the queue is full.
    pub(super) fn add(&self, messages: &mut Vec<InboundMessage>) -> bool {
        let mut state = lock(&self.state);
        let count = messages.len();
        state.bytes += messages.iter().map(InboundMessage::size).sum::<usize>();
        state.messages.extend(messages.drain(..));
        match (state.waiting, count) {
            (0, _) => {}
            // One message can serve one reader only.
            (_, 1) => self.arrived.notify_one(),
            _ => self.arrived.notify_all(),
        }
        let room = state.room(self);
        state.is_paused = room.is_empty() && room.has_reader;
        if state.is_paused && !state.is_settled && state.waits_until.is_none() {
            state.waits_until = Some(Instant::now() + PATIENCE);
        }
        let is_paused = state.is_paused;
        drop(state);
        self.wakers.wake();
        is_paused
    }

    /// Returns the time at which the full queue stops waiting for its first reader.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        lock(&self.state).waits_until
    }

    /// Stops waiting for the first reader if the time for this has passed. From then on the client discards messages
    /// that find the queue full.
    pub(super) fn handle_timeout(&self, now: Instant) {
        let mut state = lock(&self.state);
        if state.waits_until.is_some_and(|end| now >= end) {
            state.waits_until = None;
            state.is_settled = true;
            state.is_paused = false;
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        lock(&self.state).is_paused
    }

    /// Returns `true` if the queue has reached twice its limit. The queue grows above its limit when the server closes
    /// a connection while the queue is full: the client then reads the remaining bytes of this connection.
    pub(super) fn is_overfull(&self) -> bool {
        let state = lock(&self.state);
        state.messages.len() >= self.maximum_messages.saturating_mul(2)
            || state.bytes >= self.maximum_bytes.saturating_mul(2)
    }

    /// Records that no further message will arrive.
    pub(super) fn end(&self) {
        lock(&self.state).has_ended = true;
        self.arrived.notify_all();
        self.wakers.wake();
    }

    /// Returns the next message, or `None` if the queue is empty.
    pub(super) fn take(&self) -> Result<Option<Received>, Ended> {
        lock(&self.state).take(self)
    }

    /// Waits for the next message until the deadline, or until the client ends. Returns `None` at the deadline.
    pub(super) fn receive(&self, deadline: Option<Instant>) -> Result<Option<Received>, Ended> {
        let mut state = lock(&self.state);
        loop {
            if let Some(received) = state.take(self)? {
                return Ok(Some(received));
            }
            state.waiting += 1;
            state = match deadline {
                None => match self.arrived.wait(state) {
                    Ok(state) => state,
                    Err(poisoned) => poisoned.into_inner(),
                },
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        state.waiting -= 1;
                        return Ok(None);
                    }
                    match self.arrived.wait_timeout(state, left) {
                        Ok((state, _)) => state,
                        Err(poisoned) => poisoned.into_inner().0,
                    }
                }
            };
            state.waiting -= 1;
        }
    }
}

impl State {
    fn take(&mut self, inbox: &Inbox) -> Result<Option<Received>, Ended> {
        let Some(message) = self.messages.pop_front() else {
            return if self.has_ended { Err(Ended) } else { Ok(None) };
        };
        self.bytes = self.bytes.saturating_sub(message.size());
        // The client continues only when half of the queue is free, so that it does not pause after each message.
        let has_room = self.messages.len() <= inbox.maximum_messages / 2
            && self.bytes <= inbox.maximum_bytes / 2;
        let ends_pause = has_room && std::mem::take(&mut self.is_paused);
        Ok(Some(Received {
            message,
            ends_pause,
        }))
    }

    fn room(&self, inbox: &Inbox) -> Room {
        Room {
            // A message is accepted as long as any room is left, so the queue may exceed its limits.
            messages: inbox.maximum_messages.saturating_sub(self.messages.len()),
            bytes: inbox.maximum_bytes.saturating_sub(self.bytes),
            has_reader: self.readers > 0 || !self.is_settled,
        }
    }
}
