//! [`RareState`]: the parts of a connection that most connections of a server never use. A broker has ten
//! thousand that only wait, and what they do not need is not there.

use std::collections::VecDeque;
use std::mem::{Discriminant, discriminant};

use super::authentication::Authentication;
use super::pending_requests::PendingRequest;
use super::topic_alias::{ReceivedAliases, SentAliases};
use crate::{Deviation, Event};

/// The parts, once one of them was used.
#[derive(Debug, Default)]
pub(crate) struct RareState(Option<Box<RareParts>>);

#[derive(Debug, Default)]
pub(crate) struct RareParts {
    pub(crate) sent_aliases: SentAliases,
    pub(crate) received_aliases: ReceivedAliases,
    pub(crate) authentication: Authentication,
    /// Client: SUBSCRIBE and UNSUBSCRIBE without an answer, oldest first.
    pub(crate) requests: VecDeque<PendingRequest>,
    /// Client: the kinds of deviations that were reported.
    pub(crate) reported: Vec<Discriminant<Deviation>>,
    /// Events that did not come from input.
    pub(crate) pending: VecDeque<Event<'static>>,
}

impl RareState {
    pub(crate) fn get(&self) -> Option<&RareParts> {
        self.0.as_deref()
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut RareParts> {
        self.0.as_deref_mut()
    }

    /// One of them is to be used.
    pub(crate) fn begin(&mut self) -> &mut RareParts {
        self.0.get_or_insert_default()
    }

    pub(crate) fn authentication(&self) -> &Authentication {
        self.get()
            .map_or(&Authentication::NONE, |parts| &parts.authentication)
    }

    /// An event that did not come from input.
    pub(crate) fn push_pending(&mut self, event: Event<'static>) {
        self.begin().pending.push_back(event);
    }

    /// The peer deviates from the standard: an event for the first time of each kind.
    #[cold]
    pub(crate) fn report(&mut self, deviation: Deviation) {
        let parts = self.begin();
        let kind = discriminant(&deviation);
        if !parts.reported.contains(&kind) {
            parts.reported.push(kind);
            parts.pending.push_back(Event::Deviation(deviation));
        }
    }

    pub(crate) fn next_pending(&mut self) -> Option<Event<'static>> {
        self.get_mut()?.pending.pop_front()
    }
}
