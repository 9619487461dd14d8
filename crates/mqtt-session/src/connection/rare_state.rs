//! [`RareState`] is the state that most connections of a server never need. A broker may have ten thousand idle
//! connections, so this state is allocated when one of its parts is used for the first time.

use std::collections::VecDeque;
use std::mem::{Discriminant, discriminant};

use super::authentication::Authentication;
use super::pending_requests::PendingRequests;
use super::topic_alias::{ReceivedAliases, SentAliases};
use crate::event::{Deviation, Event};

/// State that is allocated at its first use.
#[derive(Debug, Default)]
pub(super) struct RareState(Option<Box<RareParts>>);

/// Parts of the rare state.
#[derive(Debug, Default)]
pub(super) struct RareParts {
    pub(super) sent_aliases: SentAliases,
    pub(super) received_aliases: ReceivedAliases,
    pub(super) authentication: Authentication,
    /// Client: requests that the server has not answered.
    pub(super) requests: PendingRequests,
    /// Client: kinds of deviations that have been reported.
    pub(super) reported: Vec<Discriminant<Deviation>>,
    /// Events that were caused by a timeout or a command. The next call of `handle_input` returns them.
    pub(super) pending: VecDeque<Event<'static>>,
}

impl RareState {
    pub(super) fn get(&self) -> Option<&RareParts> {
        self.0.as_deref()
    }

    pub(super) fn get_mut(&mut self) -> Option<&mut RareParts> {
        self.0.as_deref_mut()
    }

    /// Returns the parts, and allocates them at the first use.
    pub(super) fn begin(&mut self) -> &mut RareParts {
        self.0.get_or_insert_default()
    }

    pub(super) fn authentication(&self) -> &Authentication {
        self.get()
            .map_or(&Authentication::NONE, |rare| &rare.authentication)
    }

    /// Adds an event that a timeout or a command has caused.
    pub(super) fn push_pending(&mut self, event: Event<'static>) {
        self.begin().pending.push_back(event);
    }

    /// Reports a deviation of the peer from the standard, if it is the first one of its kind. A server that deviates
    /// usually does so in each message.
    #[cold]
    pub(super) fn report(&mut self, deviation: Deviation) {
        let rare = self.begin();
        let kind = discriminant(&deviation);
        if !rare.reported.contains(&kind) {
            rare.reported.push(kind);
            rare.pending.push_back(Event::Deviation(deviation));
        }
    }

    /// Discards the events of timeouts and commands.
    pub(super) fn clear_pending(&mut self) {
        if let Some(rare) = self.get_mut() {
            rare.pending.clear();
        }
    }

    /// Removes and returns the oldest event of a timeout or a command.
    pub(super) fn next_pending(&mut self) -> Option<Event<'static>> {
        self.get_mut()?.pending.pop_front()
    }
}
