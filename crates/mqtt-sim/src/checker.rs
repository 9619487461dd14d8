//! Whether what an end sends is legal where it stands (I7, I9, I11), packet by packet.
//!
//! A [`Direction`] is one direction of one session: its sender's exchanges, over all connections.
//! It sees what the sender puts on the wire, and the answers that reach it.

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
    /// Which connection of the session it is now.
    connection: u64,
    /// Maximum number of exchanges that the receiver, or the sender itself, allows at a time.
    pub window: u16,
    /// Exchanges that ended, and those of them that a fault had met.
    pub finished: u64,
    /// Those that met a fault.
    pub faulted: u64,
}

#[derive(Debug, Clone)]
struct Exchange {
    qos: u8,
    content: u64,
    /// PUBREC has reached the sender.
    released: bool,
    /// The connection that saw it last.
    connection: u64,
    faulted: bool,
    /// In which order they were begun.
    order: u64,
}

impl Direction {
    /// A new connection; if the receiver has no session, everything begins anew.
    pub fn begin(&mut self, goes_on: bool, window: u16) {
        self.connection += 1;
        self.window = window;
        if !goes_on {
            self.open.clear();
            self.lost.clear();
        }
    }

    /// The sender has lost its state: it must not use an identifier that the receiver may hold before PUBCOMP.
    pub fn lose_state(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.lost.extend(open.into_keys());
    }

    /// The sender has died and begins with an earlier state. What it has to finish again counts once.
    pub fn roll_back(&mut self, earlier: Self) {
        *self = Self {
            finished: self.finished,
            faulted: self.faulted,
            ..earlier
        };
    }

    /// A fault met the connection: all open exchanges are faulted.
    pub fn fault(&mut self) {
        for exchange in self.open.values_mut() {
            exchange.faulted = true;
        }
    }

    /// Returns the number of exchanges in flight.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The sender puts a packet on the wire.
    ///
    /// # Errors
    /// If it may not.
    pub fn sends(&mut self, packet: &WirePacket) -> Result<(), Violation> {
        match packet.kind {
            PUBLISH if packet.qos > 0 => self.publish(packet),
            PUBREL => self.pubrel(packet),
            _ => Ok(()),
        }
    }

    /// An answer of the receiver reaches the sender.
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
            None => Ok(()), // so that the peer can finish
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
