//! [`RareState`]: the state that most connections of a server never need. A broker may have ten thousand connections
//! that only wait, so that this state is allocated when one of its parts is used for the first time.

use std::collections::VecDeque;
use std::mem::{Discriminant, discriminant};

use super::authentication::Authentication;
use super::pending_requests::PendingRequests;
use super::topic_alias::{ReceivedAliases, SentAliases};
use crate::event::{Deviation, Event};

/// State that is allocated at its first use.
#[derive(Debug, Default)]
pub(super) struct RareState(Option<Box<RareParts>>);

#[derive(Debug, Default)]
pub(super) struct RareParts {
    pub(super) sent_aliases: SentAliases,
    pub(super) received_aliases: ReceivedAliases,
    pub(super) authentication: Authentication,
    /// Client: requests without an answer, oldest first.
    pub(super) requests: PendingRequests,
    /// Client: kinds of deviations that were reported.
    pub(super) reported: Vec<Discriminant<Deviation>>,
    /// Events that are not caused by input.
    pub(super) pending: VecDeque<Event<'static>>,
}

impl RareState {
    pub(super) fn get(&self) -> Option<&RareParts> {
        self.0.as_deref()
    }

    pub(super) fn get_mut(&mut self) -> Option<&mut RareParts> {
        self.0.as_deref_mut()
    }

    /// Returns the state, which is allocated now if it was not used before.
    pub(super) fn begin(&mut self) -> &mut RareParts {
        self.0.get_or_insert_default()
    }

    pub(super) fn authentication(&self) -> &Authentication {
        self.get()
            .map_or(&Authentication::NONE, |rare| &rare.authentication)
    }

    /// Adds an event that is not caused by input.
    pub(super) fn push_pending(&mut self, event: Event<'static>) {
        self.begin().pending.push_back(event);
    }

    /// Reports a deviation of the peer from the standard, if it is the first of its kind. A server that deviates once
    /// usually deviates with each message.
    #[cold]
    pub(super) fn report(&mut self, deviation: Deviation) {
        let rare = self.begin();
        let kind = discriminant(&deviation);
        if !rare.reported.contains(&kind) {
            rare.reported.push(kind);
            rare.pending.push_back(Event::Deviation(deviation));
        }
    }

    /// Discards the events that are not caused by input.
    pub(super) fn clear_pending(&mut self) {
        if let Some(rare) = self.get_mut() {
            rare.pending.clear();
        }
    }

    /// Removes and returns the oldest event that is not caused by input.
    pub(super) fn next_pending(&mut self) -> Option<Event<'static>> {
        self.get_mut()?.pending.pop_front()
    }
}
