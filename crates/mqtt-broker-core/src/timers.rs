//! [`Timers`]: an ordered set of deadlines, with at most one entry for each connection and client.
//!
//! If a deadline moves later, its entry stays unchanged. When the entry is due, its owner schedules the later deadline.
//! Each packet moves the keep alive deadline of its connection later, so a packet must not cost a change of the set. If
//! a deadline moves earlier, the new entry replaces the old one. An owner that is removed cancels its entry; otherwise
//! sessions with an expiry of a year would leave entries in the set for a year.

use std::collections::BTreeSet;
use std::time::Instant;

/// The entries, ordered by their time. `K` identifies the owner.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    /// The entries are in a set and not in a `BinaryHeap`, because a heap cannot remove the entry of a removed owner.
    entries: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Self {
            entries: BTreeSet::new(),
        }
    }

    /// Schedules a deadline of `key`. Adds an entry, or replaces the entry of `key` if the new deadline is earlier.
    /// `scheduled` is the time of the entry. The owner stores this time, because the entry cannot be found without it.
    pub(crate) fn schedule(
        &mut self,
        key: K,
        deadline: Option<Instant>,
        scheduled: &mut Option<Instant>,
    ) {
        let Some(deadline) = deadline else {
            return; // an older entry stays until it is due
        };
        // The entry of this owner is due earlier. The owner then schedules the later deadline.
        if scheduled.is_some_and(|scheduled| scheduled <= deadline) {
            return;
        }
        self.cancel(key, scheduled.replace(deadline));
        self.entries.insert((deadline, key));
    }

    /// Removes the entry of `key` at the time `scheduled`, if there is one.
    pub(crate) fn cancel(&mut self, key: K, scheduled: Option<Instant>) {
        if let Some(scheduled) = scheduled {
            let was_there = self.entries.remove(&(scheduled, key));
            debug_assert!(was_there, "the owner remembers an entry that is not there");
        }
    }

    /// Removes the first entry if it is due, and returns its owner. The owner must set its `scheduled` to `None`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<K> {
        if self.first().is_none_or(|first| now < first) {
            return None;
        }
        self.entries.pop_first().map(|(_, key)| key)
    }

    pub(crate) fn first(&self) -> Option<Instant> {
        self.entries.first().map(|(deadline, _)| *deadline)
    }

    /// Returns the number of entries.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Broker, Limits};
    use mqtt_codec::{Connect, Disconnect, PacketRef, ProtocolVersion, ReasonCode, Will};
    use std::time::Duration;

    const YEAR: u32 = 365 * 24 * 60 * 60;

    #[test]
    fn an_entry_moves_earlier_and_never_later() {
        let now = Instant::now();
        let at = |seconds| Some(now + Duration::from_secs(seconds));
        let (mut timers, mut scheduled) = (Timers::new(), None);
        timers.schedule('a', None, &mut scheduled);
        assert_eq!((timers.len(), scheduled), (0, None));
        for (deadline, expected) in [(5, 5), (9, 5), (5, 5), (2, 2), (7, 2)] {
            timers.schedule('a', at(deadline), &mut scheduled);
            assert_eq!((timers.len(), scheduled), (1, at(expected)));
            assert_eq!(timers.first(), scheduled);
        }
        timers.schedule('b', at(2), &mut None);
        assert_eq!(timers.pop(now), None);
        timers.cancel('a', scheduled);
        assert_eq!(timers.pop(now + Duration::from_secs(2)), Some('b'));
        assert_eq!(timers.len(), 0);
    }

    /// Connects a client, and drops the connection. If `leaves` is set, the client first sends a DISCONNECT that ends
    /// its session.
    fn come_and_go(broker: &mut Broker, now: Instant, connect: &Connect, leaves: bool) {
        let id = broker.open(now, "peer".into(), 0);
        let mut bytes = Vec::new();
        let version = ProtocolVersion::V5_0;
        let connect = PacketRef::Connect(Box::new(connect.clone()));
        connect.encode(version, u32::MAX, &mut bytes).unwrap();
        if leaves {
            let mut disconnect = Disconnect::new(ReasonCode::Success);
            disconnect.properties.session_expiry_interval = Some(0);
            let disconnect = PacketRef::Disconnect(Box::new(disconnect));
            disconnect.encode(version, u32::MAX, &mut bytes).unwrap();
        }
        broker.handle_input(now, id, &mut &bytes[..]);
        broker.remove(now, id);
    }

    #[test]
    fn sessions_of_a_year_that_come_and_go_leave_no_deadlines() {
        let mut broker = Broker::new(Limits::default(), Box::new(|| 7));
        let mut now = Instant::now();
        let message = mqtt_codec::Message::new(mqtt_codec::TopicName::new("w").unwrap(), "x");
        let mut will = Will::new(message, mqtt_codec::QoS::AtMostOnce);
        will.will_delay_interval = Some(1);
        for round in 0..100_000 {
            let mut connect = Connect::new(ProtocolVersion::V5_0, format!("c{round}"));
            connect.properties.session_expiry_interval = Some(YEAR);
            // One third of the clients end their sessions. One third have the identifier `anew`, so that each replaces
            // the session of the one before. One third have the identifier `back` and resume its session, and the
            // will is published each time.
            match round % 3 {
                0 => come_and_go(&mut broker, now, &connect, true),
                1 => {
                    connect.client_identifier = "anew".into();
                    connect.clean_start = true;
                    come_and_go(&mut broker, now, &connect, false);
                }
                _ => {
                    connect.client_identifier = "back".into();
                    connect.clean_start = false;
                    connect.will = Some(will.clone());
                    come_and_go(&mut broker, now, &connect, false);
                    now += Duration::from_secs(1);
                    broker.handle_timeout(now);
                }
            }
            assert!(broker.flow.timers.len() <= 2, "in round {round}");
        }
    }

    #[test]
    fn connections_without_connect_that_come_and_go_leave_no_deadlines() {
        let mut broker = Broker::new(Limits::default(), Box::new(|| 7));
        let now = Instant::now();
        for _ in 0..1000 {
            let id = broker.open(now, "peer".into(), 0);
            assert_eq!(broker.flow.timers.len(), 1);
            broker.remove(now, id);
            assert_eq!(broker.flow.timers.len(), 0);
        }
    }
}
