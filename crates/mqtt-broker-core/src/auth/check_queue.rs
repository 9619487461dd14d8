//! The passwords that wait to be checked, in a fair order.
//!
//! A hash takes milliseconds, so a peer that sends many CONNECT packets could keep all others waiting. The addresses
//! take turns: a login waits for one hash of each other address at most, and for those before it from its own. The
//! broker removes the checks of connections that close. The caller decides when a check runs.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;

use crate::connection::ConnectionId;

/// Maximum number of passwords of one address that wait.
const MAXIMUM_OF_ADDRESS: usize = 256;

/// Maximum number of passwords that wait.
const MAXIMUM_WAITING: usize = 1024;

/// A password that the caller of the core must check: the core knows no hashes.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordCheck {
    /// The number of the listener that accepted the client. The password file of this listener applies.
    pub listener: u32,
    /// The user name, which may be unknown.
    pub user_name: String,
    /// The password, which is not empty.
    pub password: Bytes,
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordCheck") // passwords are in no log
    }
}

/// Peers that take one turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerGroup {
    /// Peers of a Unix socket, and those whose address is unknown.
    Local,
    V4(Ipv4Addr),
    /// The first 64 bits: a single host usually has all addresses with them.
    V6(u64),
}

impl PeerGroup {
    /// Returns the group of a peer, whose name is its socket address if it has one.
    pub(crate) fn of(peer: &str) -> Self {
        match peer
            .parse::<SocketAddr>()
            .map(|address| address.ip().to_canonical())
        {
            Ok(IpAddr::V4(address)) => Self::V4(address),
            Ok(IpAddr::V6(address)) => Self::V6((address.to_bits() >> 64) as u64),
            Err(_) => Self::Local,
        }
    }
}

/// Passwords that wait, by the address of the peer.
#[derive(Debug, Default)]
pub(crate) struct CheckQueue {
    /// No group is empty.
    groups: BTreeMap<PeerGroup, VecDeque<ConnectionId>>,
    /// Each group once, the next one first.
    turns: VecDeque<PeerGroup>,
    len: usize,
}

impl CheckQueue {
    /// Adds the check of a connection.
    ///
    /// # Errors
    /// If too many checks wait. The error is the connection that must be refused: the newest connection of the address
    /// with the most checks, so that one address cannot keep other addresses out.
    pub(crate) fn push(&mut self, group: PeerGroup, id: ConnectionId) -> Result<(), ConnectionId> {
        let own = self.groups.get(&group).map_or(0, VecDeque::len);
        if own >= MAXIMUM_OF_ADDRESS {
            return Err(id);
        }
        let refused = match self.len >= MAXIMUM_WAITING {
            true => Some(self.drop_of_longest(own + 1).ok_or(id)?),
            false => None,
        };
        let waiting = self.groups.entry(group).or_insert_with(|| {
            self.turns.push_back(group);
            VecDeque::new()
        });
        waiting.push_back(id);
        self.len += 1;
        refused.map_or(Ok(()), Err)
    }

    /// Removes the next check.
    pub(crate) fn pop(&mut self) -> Option<ConnectionId> {
        let group = self.turns.pop_front()?;
        let waiting = self.groups.get_mut(&group)?;
        let next = waiting.pop_front();
        match waiting.is_empty() {
            true => drop(self.groups.remove(&group)),
            false => self.turns.push_back(group),
        }
        self.len -= usize::from(next.is_some());
        next
    }

    /// Removes the check of a connection that has ended.
    pub(crate) fn remove(&mut self, group: PeerGroup, id: ConnectionId) {
        let Some(waiting) = self.groups.get_mut(&group) else {
            return; // the check was taken out, and is in progress
        };
        let before = waiting.len();
        waiting.retain(|other| *other != id);
        self.len -= before - waiting.len();
        if waiting.is_empty() {
            self.groups.remove(&group);
            self.turns.retain(|other| *other != group);
        }
    }

    /// Removes the newest check of the address with the most, if it has more than `least`.
    fn drop_of_longest(&mut self, least: usize) -> Option<ConnectionId> {
        let longest = self.groups.values_mut().max_by_key(|waiting| waiting.len());
        let longest = longest.filter(|waiting| waiting.len() > least)?;
        let id = longest.pop_back()?;
        self.len -= 1;
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    struct World {
        ids: SlotMap<ConnectionId, &'static str>,
        queue: CheckQueue,
    }

    impl World {
        fn new() -> Self {
            Self {
                ids: SlotMap::with_key(),
                queue: CheckQueue::default(),
            }
        }

        /// A CONNECT from an address; the address whose connection is refused, if one is.
        fn push(&mut self, peer: &'static str) -> (ConnectionId, Option<&'static str>) {
            let id = self.ids.insert(peer);
            let refused = self.queue.push(PeerGroup::of(peer), id).err();
            (id, refused.map(|id| self.ids[id]))
        }

        fn pop(&mut self) -> Option<&'static str> {
            self.queue.pop().map(|id| self.ids[id])
        }
    }

    const A: &str = "192.0.2.1:1000";
    const B: &str = "192.0.2.2:1000";
    const C: &str = "[2001:db8::1]:1000";

    #[test]
    fn addresses_take_turns() {
        let mut world = World::new();
        for peer in [A, A, A, A, B, C, C] {
            assert_eq!(world.push(peer).1, None);
        }
        let order: Vec<_> = std::iter::from_fn(|| world.pop()).collect();
        assert_eq!(order, [A, B, C, A, C, A, A]);
        assert_eq!(world.queue.len, 0);
    }

    #[test]
    fn an_address_is_one_with_its_ports_its_network_and_its_form_of_ipv6() {
        let same = |a, b| PeerGroup::of(a) == PeerGroup::of(b);
        assert!(same("192.0.2.1:1", "192.0.2.1:2"));
        assert!(same("192.0.2.1:1", "[::ffff:192.0.2.1]:2"));
        assert!(same("[2001:db8::1]:1", "[2001:db8::f:2]:2"));
        assert!(!same("[2001:db8::1]:1", "[2001:db8:0:1::1]:1"));
        assert!(!same("192.0.2.1:1", "192.0.2.2:1"));
        assert!(same("/run/mqtt.sock", ""));
        assert!(!same("/run/mqtt.sock", "192.0.2.1:1"));
    }

    #[test]
    fn connections_that_are_gone_leave_nothing_behind() {
        let mut world = World::new();
        let gone: Vec<_> = (0..100).map(|_| world.push(A).0).collect();
        world.push(B);
        world.push(A);
        for id in gone {
            world.queue.remove(PeerGroup::of(A), id);
        }
        assert_eq!(world.queue.len, 2);
        assert_eq!(
            [world.pop(), world.pop(), world.pop()],
            [Some(A), Some(B), None]
        );
        let (last, _) = world.push(C);
        world.queue.remove(PeerGroup::of(C), last);
        assert!(world.queue.groups.is_empty() && world.queue.turns.is_empty());
    }

    #[test]
    fn a_full_queue_refuses_the_address_with_the_most() {
        let mut world = World::new();
        const MANY: [&str; 4] = ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"];
        for peer in MANY {
            for _ in 0..MAXIMUM_OF_ADDRESS {
                assert_eq!(world.push(peer).1, None);
            }
            // One address alone is refused before the whole queue is full.
            assert_eq!(world.push(peer).1, Some(peer));
        }
        assert_eq!(world.queue.len, MAXIMUM_WAITING);
        let (_, refused) = world.push(C);
        assert!(refused.is_some_and(|peer| MANY.contains(&peer)));
        assert_eq!(world.queue.len, MAXIMUM_WAITING);
        let turn: Vec<_> = (0..5).filter_map(|_| world.pop()).collect();
        assert!(turn.contains(&C), "{turn:?}");
    }
}
