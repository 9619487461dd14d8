//! [`EventQueue`] is the bounded queue of connection events that the application has not read.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use mqtt_codec::{Connack, ReasonCode, TopicFilter};

use super::error::ConnectError;
use super::waiting::lock;
use super::wakers::Wakers;

/// Event of a client's connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The server has accepted the connection.
    Connected {
        /// CONNACK, with Session Present and the limits of the server.
        connack: Box<Connack>,
    },
    /// The connection was lost, or an attempt to connect has failed.
    Disconnected {
        /// Reason of the loss or failure.
        reason: ConnectError,
    },
    /// The client will make another attempt to connect.
    Reconnecting {
        /// Time until the next attempt.
        wait: Duration,
    },
    /// The server has rejected a subscription that the client tried to restore after a lost session, or cannot accept the
    /// request for it. The application then receives no messages of this subscription.
    SubscriptionRefused {
        /// Topic filter of the subscription.
        topic_filter: TopicFilter,
        /// Reason code in SUBACK. If the SUBSCRIBE is larger than the server accepts, the client sends none, and the code is
        /// [`ReasonCode::PacketTooLarge`]; the client then tries again after its next connection.
        reason_code: ReasonCode,
    },
    /// The queue was full, and the oldest events were dropped. The next event is newer than the dropped events.
    Missed {
        /// Number of dropped events.
        count: u64,
    },
}

/// Maximum number of unread events.
const MAXIMUM_EVENTS: usize = 256;

#[derive(Debug, Default)]
pub(super) struct EventQueue {
    state: Mutex<State>,
    arrived: Condvar,
    pub(super) wakers: Wakers,
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
        // The oldest event is dropped, because the newest ones describe the current state of the connection.
        if state.events.len() >= MAXIMUM_EVENTS {
            state.events.pop_front();
            state.missed += 1;
        }
        state.events.push_back(event);
        self.arrived.notify_one();
        drop(state);
        self.wakers.wake();
    }

    pub(super) fn end(&self) {
        lock(&self.state).has_ended = true;
        self.arrived.notify_all();
        self.wakers.wake();
    }

    #[cfg(feature = "async")]
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.state).has_ended
    }

    pub(super) fn receive(&self, deadline: Option<Instant>) -> Option<ClientEvent> {
        let mut state = lock(&self.state);
        loop {
            // The dropped events are older than those in the queue, so they are reported first.
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
