//! [`Exchanges`]: the messages that were sent and are not finished, in the order of their first sending, and the
//! packet identifiers that are free beside them. The steps of an exchange are in `sender.rs`.
//!
//! Identifiers are given out in a circle, which [`Exchanges::limit`] makes smaller than the protocol's, and those in
//! use are skipped [MQTT-2.2.1-4]. As long as the circle has
//! not come round to an exchange, the exchanges are sorted by identifier along the circle, and a binary search
//! finds one. An exchange that the circle passes, because the peer does not acknowledge it, moves to a map of its
//! own, so that it neither stops the others nor slows them down.

use std::collections::{BTreeMap, VecDeque};

use mqtt_codec::PacketIdentifier;

use crate::OutboundMessage;

#[derive(Debug)]
pub(crate) struct Exchanges {
    /// Exchanges that the circle has not passed, oldest first.
    in_order: VecDeque<OutboundExchange>,
    /// Older exchanges. Boxed, as nearly all senders have none.
    overtaken: Option<Box<Overtaken>>,
    /// The identifier that was given out last.
    last: Option<PacketIdentifier>,
    /// The highest identifier that is given out.
    highest: PacketIdentifier,
}

impl Default for Exchanges {
    /// No exchanges, and all identifiers of the protocol.
    fn default() -> Self {
        Self {
            in_order: VecDeque::new(),
            overtaken: None,
            last: None,
            highest: PacketIdentifier::LAST,
        }
    }
}

#[derive(Debug)]
pub(crate) struct OutboundExchange {
    pub(crate) packet_identifier: PacketIdentifier,
    pub(crate) state: OutboundState,
    /// Set once this connection has sent it; `false` for an exchange that the session brings along.
    pub(crate) sent: bool,
}

#[derive(Debug)]
pub(crate) enum OutboundState {
    /// Waits for PUBACK (QoS 1) or PUBREC (QoS 2).
    Published(OutboundMessage),
    /// Waits for PUBCOMP.
    Released,
}

/// The place of an exchange, until one is added or removed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Position {
    InOrder(usize),
    Overtaken(u64),
}

/// Exchanges that the circle has passed. A hostile peer can have 65,535 of them, so both ways to look for one
/// are searches in a tree.
#[derive(Debug, Default)]
struct Overtaken {
    /// By the order of their first sending.
    exchanges: BTreeMap<u64, OutboundExchange>,
    numbers: BTreeMap<PacketIdentifier, u64>,
    next_number: u64,
}

impl Exchanges {
    /// Takes exchanges as they were stored, oldest first. Their identifiers may be in any order.
    pub(crate) fn restore(exchanges: impl IntoIterator<Item = OutboundExchange>) -> Self {
        let mut in_order: VecDeque<_> = exchanges.into_iter().collect();
        let last = in_order.back().map(|exchange| exchange.packet_identifier);
        // The newest exchanges that lie within one turn of the circle were not passed.
        let (mut turn, mut count) = (0, 0);
        let mut newer = None;
        for exchange in in_order.iter().rev() {
            let identifier = exchange.packet_identifier;
            turn += newer.map_or(0, |newer| match distance(identifier, newer) {
                0 => CIRCLE, // a second exchange with this identifier, which no sender stores
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

    /// Returns `true` if an identifier is free beside those in use for something else, of which there are
    /// `requested`.
    #[inline]
    pub(crate) fn has_identifier(&self, requested: usize) -> bool {
        self.len() + requested < self.identifiers()
    }

    /// Returns the next identifier that no exchange uses and for which `is_requested` is `false`, or `None` if
    /// all are in use.
    #[inline]
    pub(crate) fn next_identifier(
        &self,
        is_requested: impl Fn(PacketIdentifier) -> bool,
    ) -> Option<PacketIdentifier> {
        let next = self.following();
        let oldest = self.in_order.front();
        let is_oldest = oldest.is_some_and(|oldest| oldest.packet_identifier == next);
        if !is_oldest && self.overtaken.is_none() && !is_requested(next) {
            return Some(next);
        }
        self.search_identifier(next, is_requested)
    }

    #[cold]
    fn search_identifier(
        &self,
        next: PacketIdentifier,
        is_requested: impl Fn(PacketIdentifier) -> bool,
    ) -> Option<PacketIdentifier> {
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
            // The circle meets the exchanges in order one after the other.
            let is_in_order = in_order.next_if_eq(&candidate).is_some();
            if !is_in_order && !is_overtaken(&candidate) && !is_requested(candidate) {
                return Some(candidate);
            }
            candidate = self.after(candidate);
        }
        None
    }

    /// Gives out an identifier that `next_identifier` has returned. Identifiers above the limit are not part of the
    /// circle.
    #[inline]
    pub(crate) fn take_identifier(&mut self, packet_identifier: PacketIdentifier) {
        if packet_identifier > self.highest {
            return;
        }
        let next = self.following();
        if packet_identifier != next {
            self.overtake(next, packet_identifier);
        }
        self.last = Some(packet_identifier);
    }

    /// Gives out no identifier above `highest` from now on.
    pub(crate) fn limit(&mut self, highest: PacketIdentifier) {
        self.highest = highest;
    }

    /// Returns the highest identifier that is given out.
    pub(crate) fn highest(&self) -> PacketIdentifier {
        self.highest
    }

    /// Adds the newest exchange, under the identifier that was given out last.
    pub(crate) fn push(&mut self, exchange: OutboundExchange) {
        self.in_order.push_back(exchange);
    }

    #[inline]
    pub(crate) fn find(&self, packet_identifier: PacketIdentifier) -> Option<Position> {
        // Most peers acknowledge in order.
        let oldest = self.in_order.front().map(|oldest| oldest.packet_identifier);
        if oldest == Some(packet_identifier) {
            return Some(Position::InOrder(0));
        }
        self.search(oldest, packet_identifier)
    }

    fn search(
        &self,
        oldest: Option<PacketIdentifier>,
        packet_identifier: PacketIdentifier,
    ) -> Option<Position> {
        let in_order = oldest.and_then(|oldest| {
            let place = self
                .in_order
                .binary_search_by_key(&distance(oldest, packet_identifier), |exchange| {
                    distance(oldest, exchange.packet_identifier)
                });
            place.ok()
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

    #[inline]
    pub(crate) fn get_mut(&mut self, place: Position) -> Option<&mut OutboundExchange> {
        match place {
            Position::InOrder(index) => self.in_order.get_mut(index),
            Position::Overtaken(number) => self.overtaken.as_mut()?.exchanges.get_mut(&number),
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, place: Position) -> Option<OutboundExchange> {
        match place {
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
        if overtaken.exchanges.is_empty() {
            self.overtaken = None;
        }
        Some(exchange)
    }

    /// Iterates in the order of the first sending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OutboundExchange> {
        let overtaken = self.overtaken.iter();
        let overtaken = overtaken.flat_map(|overtaken| overtaken.exchanges.values());
        overtaken.chain(&self.in_order)
    }

    /// As `iter`.
    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut OutboundExchange> {
        let overtaken = self.overtaken.iter_mut();
        let overtaken = overtaken.flat_map(|overtaken| overtaken.exchanges.values_mut());
        overtaken.chain(&mut self.in_order)
    }

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

    fn following(&self) -> PacketIdentifier {
        self.last
            .map_or(PacketIdentifier::FIRST, |last| self.after(last))
    }

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

    /// Moves the exchanges away that the circle passes on its way from `next` to `taken`.
    #[cold]
    fn overtake(&mut self, next: PacketIdentifier, taken: PacketIdentifier) {
        let way = distance(next, taken);
        let is_passed =
            |exchange: &OutboundExchange| distance(next, exchange.packet_identifier) < way;
        while self.in_order.front().is_some_and(is_passed) {
            if let Some(exchange) = self.in_order.pop_front() {
                self.overtaken.get_or_insert_default().push(exchange);
            }
        }
    }
}

impl Overtaken {
    /// Adds an exchange that was first sent after all others here.
    fn push(&mut self, exchange: OutboundExchange) {
        let number = self.next_number;
        self.next_number += 1;
        self.numbers.insert(exchange.packet_identifier, number);
        self.exchanges.insert(number, exchange);
    }
}

/// The number of identifiers in the protocol's circle. Distances along it put the identifiers of a smaller circle in
/// the same order.
const CIRCLE: i32 = u16::MAX as i32;

/// Returns the number of steps along the circle between two identifiers.
fn distance(from: PacketIdentifier, to: PacketIdentifier) -> i32 {
    let distance = i32::from(to.get()) - i32::from(from.get());
    distance.rem_euclid(CIRCLE)
}
