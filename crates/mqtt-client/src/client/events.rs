//! [`Events`] returns the events of the connection, such as a lost connection, for programs that need them.

use std::sync::Arc;
use std::time::Duration;

use super::event_queue::ClientEvent;
use super::shared::Shared;
use super::waiting::deadline_after;

/// Events of a client; see [`Client::events`](crate::Client::events).
///
/// The iterator blocks until the next event. It ends when the client has ended. A program need not read the events: the
/// client keeps the latest 256.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits for the next event for at most `timeout`. Returns `None` if no event occurs, or if the client has ended.
    pub fn receive(&mut self, timeout: Duration) -> Option<ClientEvent> {
        let deadline = Some(deadline_after(timeout));
        self.shared.events.receive(deadline)
    }
}

impl Iterator for Events {
    type Item = ClientEvent;

    fn next(&mut self) -> Option<ClientEvent> {
        self.shared.events.receive(None)
    }
}
