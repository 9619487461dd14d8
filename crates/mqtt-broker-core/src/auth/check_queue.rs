//! [`CheckQueue`]: the passwords that wait for their check, in a fair order.
//!
//! The check of a password takes milliseconds, so a peer that sends many CONNECT packets could delay the logins of all
//! others. Therefore the checks are chosen round robin by peer address. Between two checks of one address, every other
//! address has at most one check. The broker removes the check of a connection that closes. The caller takes one check
//! at a time and hashes the password.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;

use crate::keys::ConnectionId;

/// Maximum number of waiting passwords of one address.
const MAXIMUM_OF_ADDRESS: usize = 256;

/// Maximum number of waiting passwords of all addresses together.
const MAXIMUM_WAITING: usize = 1024;

/// A password that the caller of the core must check, because the core has no password hashes.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordCheck {
    /// The number of the listener that accepted the client. The password file of this listener applies.
    pub listener: u32,
    /// The user name, which may be missing in the password file.
    pub user_name: String,
    /// The password, which is not empty.
    pub password: Bytes,
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordCheck") // a password must not appear in a log
    }
}

/// The peers that count as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerGroup {
    /// Peers at a Unix socket, and peers without an address.
    Local,
    /// Peers with this IPv4 address.
    V4(Ipv4Addr),
    /// Peers whose IPv6 addresses have these first 64 bits. A single host usually has a whole /64 network, so it must
    /// not get a turn for each address.
    V6(u64),
}

impl PeerGroup {
    /// Returns the group of a peer. `peer` is its socket address, or the path of a Unix socket.
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

/// The connections whose passwords wait, by the address of the peer.
#[derive(Debug, Default)]
pub(crate) struct CheckQueue {
    /// The waiting connections of each group, in the order of their CONNECT packets. No group is empty.
    groups: BTreeMap<PeerGroup, VecDeque<ConnectionId>>,
    /// The groups in the order of their turns. Each group is in the list once.
    turns: VecDeque<PeerGroup>,
    /// The number of connections in all groups.
    len: usize,
}

impl CheckQueue {
    /// Adds the check of a connection.
    ///
    /// # Errors
    /// Returns the connection that must be rejected, if too many checks wait: the newest connection of the address with
    /// the most checks. It may be another connection than `id`, so that one address cannot lock out the others.
    pub(crate) fn push(&mut self, group: PeerGroup, id: ConnectionId) -> Result<(), ConnectionId> {
        let own = self.groups.get(&group).map_or(0, VecDeque::len);
        if own >= MAXIMUM_OF_ADDRESS {
            return Err(id);
        }
        // A check of the address with the most checks is removed only if that address has more checks than this one
        // would have with the new check. Otherwise the new check is rejected.
        let refused = if self.len >= MAXIMUM_WAITING {
            Some(self.drop_of_longest(own + 1).ok_or(id)?)
        } else {
            None
        };
        let waiting = self.groups.entry(group).or_insert_with(|| {
            self.turns.push_back(group);
            VecDeque::new()
        });
        waiting.push_back(id);
        self.len += 1;
        refused.map_or(Ok(()), Err)
    }

    /// Removes and returns the connection whose password must be checked next.
    pub(crate) fn pop(&mut self) -> Option<ConnectionId> {
        let group = self.turns.pop_front()?;
        let waiting = self.groups.get_mut(&group)?;
        let next = waiting.pop_front();
        // The address has its next turn after all other addresses.
        if waiting.is_empty() {
            drop(self.groups.remove(&group))
        } else {
            self.turns.push_back(group)
        }
        self.len -= usize::from(next.is_some());
        next
    }

    /// Removes the check of a connection that has ended.
    pub(crate) fn remove(&mut self, group: PeerGroup, id: ConnectionId) {
        let Some(waiting) = self.groups.get_mut(&group) else {
            return; // `pop` has returned the check already
        };
        let before = waiting.len();
        waiting.retain(|other| *other != id);
        self.len -= before - waiting.len();
        if waiting.is_empty() {
            self.groups.remove(&group);
            self.turns.retain(|other| *other != group);
        }
    }

    /// Removes the newest check of the address with the most checks, if this address has more than `least`.
    fn drop_of_longest(&mut self, least: usize) -> Option<ConnectionId> {
        let longest = self.groups.values_mut().max_by_key(|waiting| waiting.len());
        let longest = longest.filter(|waiting| waiting.len() > least)?;
        // More than `least` checks were left, so the group does not become empty.
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

        /// Adds a check for a connection from `peer`. Also returns the address whose connection is rejected, if one is.
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
    fn checks_alternate_between_peer_addresses() {
        let mut world = World::new();
        for peer in [A, A, A, A, B, C, C] {
            assert_eq!(world.push(peer).1, None);
        }
        let order: Vec<_> = std::iter::from_fn(|| world.pop()).collect();
        assert_eq!(order, [A, B, C, A, C, A, A]);
        assert_eq!(world.queue.len, 0);
    }

    #[test]
    fn ports_ipv6_networks_and_mapped_addresses_share_a_group() {
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
    fn closed_connections_are_removed_from_the_queue() {
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
    fn full_queue_rejects_the_address_with_the_most_checks() {
        let mut world = World::new();
        const MANY: [&str; 4] = ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"];
        for peer in MANY {
            for _ in 0..MAXIMUM_OF_ADDRESS {
                assert_eq!(world.push(peer).1, None);
            }
            // The limit of a single address rejects its next connection, although the whole queue is not full.
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
