//! [`EventQueue`]: the bounded queue of connection events that the application has not read yet.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use mqtt_codec::{Connack, ReasonCode, TopicFilter};

use super::error::ConnectError;
use super::waiting::lock;

/// Something that happened to the connection of a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The server has accepted the connection.
    Connected {
        /// The answer of the server: whether it has resumed the session, and its limits.
        connack: Box<Connack>,
    },
    /// The connection was lost, or an attempt to connect has failed.
    Disconnected {
        /// The reason.
        reason: ConnectError,
    },
    /// The client will try to connect again.
    Reconnecting {
        /// The time until the next attempt.
        wait: Duration,
    },
    /// The server has rejected a subscription that the client tried to restore after the session was lost.
    SubscriptionRefused {
        /// The topic filter.
        topic_filter: TopicFilter,
        /// The reason code of SUBACK.
        reason_code: ReasonCode,
    },
    /// Events before the next one were dropped, because nobody has read them.
    Missed {
        /// The number of events.
        count: u64,
    },
}

/// Maximum number of events that wait to be read.
const MAXIMUM_EVENTS: usize = 256;

#[derive(Debug, Default)]
pub(super) struct EventQueue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<ClientEvent>,
    missed: u64,
    has_ended: bool,
}

impl EventQueue {
    pub(super) fn add(&self, event: ClientEvent) {
        let mut state = lock(&self.state);
        if state.events.len() >= MAXIMUM_EVENTS {
            state.events.pop_front();
            state.missed += 1;
        }
        state.events.push_back(event);
        self.arrived.notify_one();
    }

    pub(super) fn end(&self) {
        lock(&self.state).has_ended = true;
        self.arrived.notify_all();
    }

    pub(super) fn receive(&self, deadline: Option<Instant>) -> Option<ClientEvent> {
        let mut state = lock(&self.state);
        loop {
            if let count @ 1.. = std::mem::take(&mut state.missed) {
                return Some(ClientEvent::Missed { count });
            }
            if let Some(event) = state.events.pop_front() {
                return Some(event);
            }
            if state.has_ended {
                return None;
            }
            state = match deadline {
                None => match self.arrived.wait(state) {
                    Ok(state) => state,
                    Err(poisoned) => poisoned.into_inner(),
                },
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    match self.arrived.wait_timeout(state, left) {
                        Ok((state, _)) => state,
                        Err(poisoned) => poisoned.into_inner().0,
                    }
                }
            };
        }
    }
}
