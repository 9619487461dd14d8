//! [`Exchanges`] stores the unfinished exchanges of a sender in the order in which they were first sent, and assigns
//! packet identifiers. The steps of an exchange are in `sender.rs`.
//!
//! Packet identifiers form a circle: they are assigned in ascending order, and 1 follows the highest one.
//! [`Exchanges::limit`] makes the circle smaller than that of the protocol. The assignment skips identifiers in use
//! [MQTT-2.2.1-4]. If the peer does not acknowledge an exchange for a whole turn of the circle, the assignment passes
//! the identifier of this exchange. The exchange then moves to an ordered map, so that it neither stops nor slows down
//! the others. All other exchanges are sorted by identifier along the circle, so that a binary search finds an
//! exchange.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use mqtt_codec::PacketIdentifier;

use super::outbound_message::OutboundMessage;

/// Unfinished exchanges of a sender, and the assignment of packet identifiers.
#[derive(Debug)]
pub(crate) struct Exchanges {
    /// Exchanges whose identifiers the assignment has not passed, oldest first.
    in_order: VecDeque<OutboundExchange>,
    /// Exchanges whose identifiers the assignment has passed. All of them are older than those in `in_order`. Boxed,
    /// because nearly all senders have none.
    overtaken: Option<Box<Overtaken>>,
    /// The identifier that was assigned last.
    last: Option<PacketIdentifier>,
    /// The highest identifier of the circle.
    highest: PacketIdentifier,
}

impl Default for Exchanges {
    /// Returns an empty list of exchanges that assigns all identifiers of the protocol.
    fn default() -> Self {
        Self {
            in_order: VecDeque::new(),
            overtaken: None,
            last: None,
            highest: PacketIdentifier::LAST,
        }
    }
}

/// Exchange that this end has started.
#[derive(Debug)]
pub(crate) struct OutboundExchange {
    pub(crate) packet_identifier: PacketIdentifier,
    pub(crate) state: OutboundState,
    /// Set when this connection has sent or resent the exchange. `false` for an exchange of an earlier connection.
    pub(crate) is_sent: bool,
}

/// Progress of an exchange.
#[derive(Debug)]
pub(crate) enum OutboundState {
    /// PUBLISH was sent, and PUBACK (QoS 1) or PUBREC (QoS 2) is awaited.
    Published(OutboundMessage),
    /// QoS 2: PUBREC was received, and PUBCOMP is awaited.
    Released,
}

/// Position of an exchange. A position is invalid after an exchange was added or removed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Position {
    InOrder(usize),
    Overtaken(u64),
}

/// Exchanges whose identifiers the assignment has passed. A hostile peer can cause 65,535 of them, so the search by
/// order and the search by identifier must both be fast.
#[derive(Debug, Default)]
struct Overtaken {
    /// Exchanges by a number that ascends in the order in which they were first sent.
    exchanges: BTreeMap<u64, OutboundExchange>,
    /// The number of each exchange by packet identifier.
    numbers: BTreeMap<PacketIdentifier, u64>,
    next_number: u64,
}

impl Exchanges {
    /// Restores stored exchanges. `exchanges` starts with the oldest one; the identifiers may be in any order.
    pub(crate) fn restore(exchanges: impl IntoIterator<Item = OutboundExchange>) -> Self {
        let mut in_order: VecDeque<_> = exchanges.into_iter().collect();
        let last = in_order.back().map(|exchange| exchange.packet_identifier);
        // The newest exchanges belong to `in_order` if their identifiers span less than one turn of the circle. The
        // loop counts them from the newest one back.
        let (mut turn, mut count) = (0, 0);
        let mut newer = None;
        for exchange in in_order.iter().rev() {
            let identifier = exchange.packet_identifier;
            turn += newer.map_or(0, |newer| match distance(identifier, newer) {
                // A valid store has no two exchanges with the same identifier. A corrupt store may have them.
                0 => CIRCLE,
                distance => distance,
            });
            if turn >= CIRCLE {
                break;
            }
            newer = Some(identifier);
            count += 1;
        }
        let mut restored = Self::default();
        for exchange in in_order.drain(..in_order.len() - count) {
            restored.overtaken.get_or_insert_default().push(exchange);
        }
        Self {
            in_order,
            last,
            ..restored
        }
    }

    /// Returns `true` if an identifier is free. `requested` is the number of identifiers that SUBSCRIBE and UNSUBSCRIBE
    /// use.
    #[inline]
    pub(crate) fn has_identifier(&self, requested: usize) -> bool {
        self.len() + requested < self.identifiers()
    }

    /// Returns the next identifier that no exchange uses and for which `is_requested` returns `false`. Returns `None`
    /// if all identifiers are in use.
    #[inline]
    pub(crate) fn next_identifier(
        &self,
        is_requested: impl Fn(PacketIdentifier) -> bool,
    ) -> Option<PacketIdentifier> {
        // Without overtaken exchanges, `in_order` is sorted along the circle, so only its oldest exchange can have the
        // next identifier. This check avoids a search for nearly every message.
        let next = self.following();
        let oldest = self.in_order.front();
        let is_oldest = oldest.is_some_and(|oldest| oldest.packet_identifier == next);
        if !is_oldest && self.overtaken.is_none() && !is_requested(next) {
            return Some(next);
        }
        self.search_identifier(next, is_requested)
    }

    /// Searches for a free identifier from `next` on.
    #[cold]
    fn search_identifier(
        &self,
        next: PacketIdentifier,
        is_requested: impl Fn(PacketIdentifier) -> bool,
    ) -> Option<PacketIdentifier> {
        // This check avoids a search through all identifiers when none is free.
        if self.len() >= self.identifiers() {
            return None;
        }
        let in_order = self.in_order.iter();
        let mut in_order = in_order
            .map(|exchange| exchange.packet_identifier)
            .peekable();
        let overtaken = self.overtaken.as_deref();
        let is_overtaken = |identifier: &PacketIdentifier| {
            overtaken.is_some_and(|overtaken| overtaken.numbers.contains_key(identifier))
        };
        let mut candidate = next;
        for _ in 0..self.identifiers() {
            // The search reaches the exchanges of `in_order` in their order, so one pass over the list is enough.
            let is_in_order = in_order.next_if_eq(&candidate).is_some();
            if !is_in_order && !is_overtaken(&candidate) && !is_requested(candidate) {
                return Some(candidate);
            }
            candidate = self.after(candidate);
        }
        None
    }

    /// Assigns an identifier that `next_identifier` has returned. An identifier above the limit does not change the
    /// state.
    #[inline]
    pub(crate) fn take_identifier(&mut self, packet_identifier: PacketIdentifier) {
        if packet_identifier > self.highest {
            // The identifier belongs to a SUBSCRIBE or UNSUBSCRIBE and is not in the circle, so no exchange can get it.
            return;
        }
        let next = self.following();
        if packet_identifier != next {
            self.overtake(next, packet_identifier);
        }
        self.last = Some(packet_identifier);
    }

    /// Assigns no identifier above `highest` in the future.
    pub(crate) fn limit(&mut self, highest: PacketIdentifier) {
        self.highest = highest;
    }

    /// Returns the highest identifier of the circle.
    pub(crate) fn highest(&self) -> PacketIdentifier {
        self.highest
    }

    /// Adds the newest exchange. Its identifier must be the one that was assigned last.
    pub(crate) fn push(&mut self, exchange: OutboundExchange) {
        self.in_order.push_back(exchange);
    }

    /// Returns the position of the exchange with this identifier.
    #[inline]
    fn find(&self, packet_identifier: PacketIdentifier) -> Option<Position> {
        // Most peers acknowledge in order, so the oldest exchange is compared first.
        let oldest = self.in_order.front().map(|oldest| oldest.packet_identifier);
        if oldest == Some(packet_identifier) {
            return Some(Position::InOrder(0));
        }
        self.search(oldest, packet_identifier)
    }

    /// Searches all exchanges. `oldest` is the identifier of the oldest exchange in `in_order`.
    fn search(
        &self,
        oldest: Option<PacketIdentifier>,
        packet_identifier: PacketIdentifier,
    ) -> Option<Position> {
        let in_order = oldest.and_then(|oldest| {
            let position = self
                .in_order
                .binary_search_by_key(&distance(oldest, packet_identifier), |exchange| {
                    distance(oldest, exchange.packet_identifier)
                });
            position.ok()
        });
        if let Some(index) = in_order {
            return Some(Position::InOrder(index));
        }
        let numbers = &self.overtaken.as_ref()?.numbers;
        numbers
            .get(&packet_identifier)
            .copied()
            .map(Position::Overtaken)
    }

    /// Returns the exchange with this identifier, and its position.
    #[inline]
    pub(crate) fn find_mut(
        &mut self,
        packet_identifier: PacketIdentifier,
    ) -> Option<(Position, &mut OutboundExchange)> {
        let position = self.find(packet_identifier)?;
        let exchange = self.get_mut(position);
        debug_assert!(
            exchange.is_some(),
            "find returns the position of an exchange"
        );
        exchange.map(|exchange| (position, exchange))
    }

    #[inline]
    fn get_mut(&mut self, position: Position) -> Option<&mut OutboundExchange> {
        match position {
            Position::InOrder(index) => self.in_order.get_mut(index),
            Position::Overtaken(number) => self.overtaken.as_mut()?.exchanges.get_mut(&number),
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, position: Position) -> Option<OutboundExchange> {
        match position {
            Position::InOrder(0) => self.in_order.pop_front(),
            Position::InOrder(index) => self.in_order.remove(index),
            Position::Overtaken(number) => self.remove_overtaken(number),
        }
    }

    #[cold]
    fn remove_overtaken(&mut self, number: u64) -> Option<OutboundExchange> {
        let overtaken = self.overtaken.as_mut()?;
        let exchange = overtaken.exchanges.remove(&number)?;
        overtaken.numbers.remove(&exchange.packet_identifier);
        // From here on the next identifier is found without a search.
        if overtaken.exchanges.is_empty() {
            self.overtaken = None;
        }
        Some(exchange)
    }

    /// Returns the exchanges in the order in which they were first sent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OutboundExchange> {
        let overtaken = self.overtaken.iter();
        let overtaken = overtaken.flat_map(|overtaken| overtaken.exchanges.values());
        overtaken.chain(&self.in_order)
    }

    /// Returns the exchanges in the order in which they were first sent.
    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut OutboundExchange> {
        let overtaken = self.overtaken.iter_mut();
        let overtaken = overtaken.flat_map(|overtaken| overtaken.exchanges.values_mut());
        overtaken.chain(&mut self.in_order)
    }

    /// Returns the exchanges in the order in which they were first sent.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = OutboundExchange> {
        let overtaken = self.overtaken.into_iter();
        let overtaken = overtaken.flat_map(|overtaken| overtaken.exchanges.into_values());
        overtaken.chain(self.in_order)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        let overtaken = self.overtaken.as_ref();
        self.in_order.len() + overtaken.map_or(0, |overtaken| overtaken.exchanges.len())
    }

    /// Returns the identifier that follows the last assigned one.
    fn following(&self) -> PacketIdentifier {
        self.last
            .map_or(PacketIdentifier::FIRST, |last| self.after(last))
    }

    /// Returns the identifier that follows `packet_identifier` in the circle.
    fn after(&self, packet_identifier: PacketIdentifier) -> PacketIdentifier {
        if packet_identifier < self.highest {
            packet_identifier.next()
        } else {
            PacketIdentifier::FIRST
        }
    }

    /// Returns the number of identifiers in the circle.
    fn identifiers(&self) -> usize {
        usize::from(self.highest.get())
    }

    /// Moves exchanges to the map: those whose identifiers the assignment passes on its way from `next` to `taken`.
    #[cold]
    fn overtake(&mut self, next: PacketIdentifier, taken: PacketIdentifier) {
        let steps = distance(next, taken);
        let is_passed =
            |exchange: &OutboundExchange| distance(next, exchange.packet_identifier) < steps;
        while let Some(exchange) = self.in_order.pop_front() {
            if !is_passed(&exchange) {
                self.in_order.push_front(exchange);
                break;
            }
            self.overtaken.get_or_insert_default().push(exchange);
        }
    }
}

impl Overtaken {
    /// Adds an exchange that was first sent after all others in the map.
    fn push(&mut self, exchange: OutboundExchange) {
        let number = self.next_number;
        self.next_number += 1;
        self.numbers.insert(exchange.packet_identifier, number);
        self.exchanges.insert(number, exchange);
    }
}

/// Number of identifiers in the circle of the protocol. A smaller circle needs no other constant: distances in the full
/// circle order its identifiers in the same way.
const CIRCLE: i32 = u16::MAX as i32;

/// Returns the number of steps from one identifier to another along the circle of the protocol.
fn distance(from: PacketIdentifier, to: PacketIdentifier) -> i32 {
    let distance = i32::from(to.get()) - i32::from(from.get());
    distance.rem_euclid(CIRCLE)
}
