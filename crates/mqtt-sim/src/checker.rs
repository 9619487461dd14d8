//! Checks that each packet of an end is permitted at its place (I7, I9, I11).
//!
//! A [`Direction`] is one direction of one session: the exchanges of its sender, over all connections. The checker sees
//! the packets that the sender puts on the wire, and the answers that reach the sender.

use std::collections::{BTreeMap, BTreeSet};

use crate::Violation;
use crate::wire::WirePacket;

const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;

/// A direction of a session.
#[derive(Debug, Clone, Default)]
pub struct Direction {
    open: BTreeMap<u16, Exchange>,
    /// Identifiers that the sender has lost with its state, and that the receiver may hold.
    lost: BTreeSet<u16>,
    /// The number of the session's current connection.
    connection: u64,
    /// Maximum number of exchanges that the receiver, or the sender itself, allows at a time.
    pub window: u16,
    /// The number of finished exchanges.
    pub finished: u64,
    /// The number of finished exchanges that a fault had interrupted.
    pub faulted: u64,
}

#[derive(Debug, Clone)]
struct Exchange {
    qos: u8,
    content: u64,
    /// Set once PUBREC has reached the sender.
    released: bool,
    /// The last connection that carried a packet of the exchange.
    connection: u64,
    faulted: bool,
    /// The place of the exchange in the order of their beginning.
    order: u64,
}

impl Direction {
    /// Begins a new connection. If the receiver has no session, no exchange continues.
    pub fn begin(&mut self, goes_on: bool, window: u16) {
        self.connection += 1;
        self.window = window;
        if !goes_on {
            self.open.clear();
            self.lost.clear();
        }
    }

    /// Records that the sender has lost its state. The sender must not use an identifier that the receiver may hold
    /// before it has received PUBCOMP.
    pub fn lose_state(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.lost.extend(open.into_keys());
    }

    /// Records that the sender has died and continues with an earlier state. Exchanges that it finishes a second time
    /// count once.
    pub fn roll_back(&mut self, earlier: Self) {
        *self = Self {
            finished: self.finished,
            faulted: self.faulted,
            ..earlier
        };
    }

    /// Handles a fault of the connection, which interrupts all open exchanges.
    pub fn fault(&mut self) {
        for exchange in self.open.values_mut() {
            exchange.faulted = true;
        }
    }

    /// Returns the number of exchanges in flight.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Checks a packet that the sender puts on the wire.
    ///
    /// # Errors
    /// If the packet is not permitted.
    pub fn sends(&mut self, packet: &WirePacket) -> Result<(), Violation> {
        match packet.kind {
            PUBLISH if packet.qos > 0 => self.publish(packet),
            PUBREL => self.pubrel(packet),
            _ => Ok(()),
        }
    }

    /// Handles an answer of the receiver that reaches the sender.
    pub fn answered(&mut self, packet: &WirePacket) {
        if packet.kind == PUBCOMP {
            self.lost.remove(&packet.identifier);
        }
        let failed = packet.reason >= 0x80;
        let Some(exchange) = self.open.get_mut(&packet.identifier) else {
            return;
        };
        match (packet.kind, exchange.qos) {
            (PUBREC, 2) if !failed => exchange.released = true,
            (PUBACK, 1) | (PUBREC | PUBCOMP, 2) => {
                self.finished += 1;
                self.faulted += u64::from(exchange.faulted);
                self.open.remove(&packet.identifier);
            }
            _ => {}
        }
    }

    fn publish(&mut self, packet: &WirePacket) -> Result<(), Violation> {
        let identifier = packet.identifier;
        let connection = self.connection;
        if self.lost.contains(&identifier) {
            return Err(fail(
                "I7",
                packet,
                "an identifier that the receiver may hold",
            ));
        }
        match self.open.get_mut(&identifier) {
            None => {
                if packet.dup {
                    return Err(fail("I11", packet, "DUP on the first delivery"));
                }
                let behind = self
                    .open
                    .values()
                    .any(|other| other.connection != connection);
                if behind {
                    return Err(fail("I11", packet, "new before what has to be sent again"));
                }
                let order = self
                    .open
                    .values()
                    .map(|other| other.order + 1)
                    .max()
                    .unwrap_or(0);
                let exchange = Exchange {
                    qos: packet.qos,
                    content: packet.content,
                    released: false,
                    connection,
                    faulted: false,
                    order,
                };
                self.open.insert(identifier, exchange);
            }
            Some(exchange) => {
                if exchange.connection == connection {
                    return Err(fail(
                        "I7",
                        packet,
                        "an identifier that is open on this connection",
                    ));
                }
                if exchange.released {
                    return Err(fail("I11", packet, "PUBLISH after PUBREC"));
                }
                if !packet.dup {
                    return Err(fail("I11", packet, "sent again without DUP"));
                }
                if (exchange.qos, exchange.content) != (packet.qos, packet.content) {
                    return Err(fail(
                        "I7",
                        packet,
                        "another message under an open identifier",
                    ));
                }
                exchange.connection = connection;
                let order = exchange.order;
                let overtaken = self.open.values().any(|other| {
                    other.order < order && other.connection != connection && !other.released
                });
                if overtaken {
                    return Err(fail("I11", packet, "sent again in another order"));
                }
            }
        }
        self.check_window(packet)
    }

    fn pubrel(&mut self, packet: &WirePacket) -> Result<(), Violation> {
        let connection = self.connection;
        match self.open.get_mut(&packet.identifier) {
            Some(exchange) if !exchange.released => {
                Err(fail("I11", packet, "PUBREL without PUBREC"))
            }
            Some(exchange) => {
                exchange.connection = connection;
                Ok(())
            }
            None => Ok(()), // answers a PUBREC of an exchange that the sender does not know
        }
    }

    fn check_window(&self, packet: &WirePacket) -> Result<(), Violation> {
        let now = |exchange: &&Exchange| exchange.connection == self.connection;
        let under_way = self.open.values().filter(now).count();
        if under_way > usize::from(self.window) {
            let what = format!("{under_way} under way where {} are allowed", self.window);
            return Err(fail("I9", packet, &what));
        }
        Ok(())
    }
}

fn fail(invariant: &'static str, packet: &WirePacket, what: &str) -> Violation {
    Violation::new(invariant, format!("{what}: {packet:?}"))
}
