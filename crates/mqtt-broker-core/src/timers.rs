//! Deadlines of connections and clients, at most one for each.
//!
//! Moving a deadline later costs nothing: the entry stays where it is, and its owner schedules the later
//! deadline when the entry comes due. So a thousand idle connections cost nothing for each turn. Moving a
//! deadline earlier replaces the entry, and an owner that goes away takes its entry along: entries of a year
//! ahead do not accumulate.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::connection::{ConnectionId, Connections};
use crate::flow::Flow;
use crate::sessions::client::ClientKey;

/// The owner of a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    Connection(ConnectionId),
    Client(ClientKey),
    /// The next removal of retained messages that have expired.
    Retained,
}

#[derive(Debug)]
pub(crate) struct Timers<K> {
    entries: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Self {
            entries: BTreeSet::new(),
        }
    }

    /// Adds an entry for `key`, or moves the one that it has if the new deadline comes earlier. `scheduled`
    /// is the time of that entry, which its owner keeps.
    pub(crate) fn schedule(
        &mut self,
        key: K,
        deadline: Option<Instant>,
        scheduled: &mut Option<Instant>,
    ) {
        let Some(deadline) = deadline else {
            return;
        };
        if scheduled.is_some_and(|scheduled| scheduled <= deadline) {
            return;
        }
        self.cancel(key, scheduled.replace(deadline));
        self.entries.insert((deadline, key));
    }

    /// Removes the entry of an owner that goes away.
    pub(crate) fn cancel(&mut self, key: K, scheduled: Option<Instant>) {
        if let Some(scheduled) = scheduled {
            let was_there = self.entries.remove(&(scheduled, key));
            debug_assert!(was_there, "the owner remembers an entry that is not there");
        }
    }

    /// Removes and returns the next entry if it is due. Its owner must forget the time of the entry.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<K> {
        if self.first().is_none_or(|first| now < first) {
            return None;
        }
        self.entries.pop_first().map(|(_, key)| key)
    }

    pub(crate) fn first(&self) -> Option<Instant> {
        self.entries.first().map(|(deadline, _)| *deadline)
    }

    /// The number of entries.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

pub(crate) fn schedule_connection(
    connections: &mut Connections,
    flow: &mut Flow,
    id: ConnectionId,
) {
    if let Some(connection) = connections.get_mut(id) {
        let deadline = connection.protocol.poll_timeout();
        flow.timers.schedule(
            TimerKey::Connection(id),
            deadline,
            &mut connection.scheduled,
        );
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

    /// Connects a client with a session of a year and a will, and drops the connection.
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
            // Every third one ends its session, every third one is replaced by a new session of its
            // client, and every third one comes back often enough for its will to be published.
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
