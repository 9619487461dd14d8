//! [`Targets`]: the subscriptions that match a message. A large publication takes the next delivery from them in each
//! step, and continues in a later turn.

use crate::topics::subscriptions::{Chosen, Subscriber};

/// The subscriptions that match a message, and the position of the next delivery.
#[derive(Debug)]
pub(crate) struct Targets {
    /// The subscriptions that are not shared, sorted by client if several filters match.
    pub(crate) plain: Vec<Subscriber>,
    /// The chosen members of shared subscriptions. Their deliveries come first, so that a chosen member is unlikely to
    /// disconnect before its delivery.
    pub(crate) shared: Vec<Chosen>,
    /// The index of the next subscription in `plain`.
    pub(crate) next: usize,
    /// The index of the next member in `shared`.
    pub(crate) next_shared: usize,
}

impl Targets {
    /// Returns `true` if at least one subscription matched.
    pub(crate) fn had_any(&self) -> bool {
        !self.plain.is_empty() || !self.shared.is_empty()
    }

    /// Returns `true` if no delivery is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.next >= self.plain.len() && self.next_shared >= self.shared.len()
    }

    /// Returns the number of deliveries. If `merges_overlapping`, all plain subscriptions of a client count as one
    /// delivery.
    pub(crate) fn count(&self, merges_overlapping: bool) -> usize {
        let is_same = |a: &Subscriber, b: &Subscriber| merges_overlapping && a.client == b.client;
        self.shared.len() + self.plain.chunk_by(is_same).count()
    }

    /// Returns the next member of a shared subscription, and advances past it.
    pub(crate) fn next_member(&mut self) -> Option<&Chosen> {
        let chosen = self.shared.get(self.next_shared);
        self.next_shared += usize::from(chosen.is_some());
        chosen
    }

    /// Returns the subscriptions of the next delivery, and advances past them. If `merges_overlapping`, these are all
    /// plain subscriptions of one client, otherwise a single subscription.
    pub(crate) fn next_client(&mut self, merges_overlapping: bool) -> Option<&[Subscriber]> {
        let rest = self.plain.get(self.next..)?;
        let first = rest.first()?;
        let is_same = |other: &&Subscriber| other.client == first.client;
        let count = if merges_overlapping {
            rest.iter().take_while(is_same).count()
        } else {
            1
        };
        self.next += count;
        rest.get(..count)
    }
}
