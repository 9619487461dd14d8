//! Checks that each PUBLISH and PUBREL is permitted in the state of its exchange (I7, I9, I11).
//!
//! A [`Direction`] is one direction of one session: the exchanges of QoS 1 and 2 that one end sends, over all
//! connections of the session. The checker sees the packets that this sender puts on the wire, and the acknowledgements
//! that reach the sender. The checker shares no code with `mqtt-session`, so that both cannot have the same mistake.

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
    /// Packet identifiers that the sender has lost with its state. They may still be in use at the receiver.
    lost: BTreeSet<u16>,
    /// The number of the session's current connection.
    connection: u64,
    /// Maximum number of exchanges in flight: the smaller of the limits of the receiver and of the sender.
    pub window: u16,
    /// The number of finished exchanges.
    pub finished: u64,
    /// The number of finished exchanges that the loss of a connection had interrupted.
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
    /// The position of the exchange in the order of the first PUBLISH packets.
    order: u64,
}

impl Direction {
    /// Begins a new connection. `goes_on` is `true` if the receiver has resumed the session; otherwise all exchanges
    /// end.
    pub fn begin(&mut self, goes_on: bool, window: u16) {
        self.connection += 1;
        self.window = window;
        if !goes_on {
            self.open.clear();
            self.lost.clear();
        }
    }

    /// Records that the sender has lost its state. The packet identifiers of the exchanges in flight may still be in
    /// use at the receiver. The sender must not use such an identifier until a PUBCOMP for it has arrived.
    pub fn lose_state(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.lost.extend(open.into_keys());
    }

    /// Records that the sender has died and continues with an earlier state. An exchange that finishes again after the
    /// restart counts again; the counts so far stay.
    pub fn roll_back(&mut self, earlier: Self) {
        *self = Self {
            finished: self.finished,
            faulted: self.faulted,
            ..earlier
        };
    }

    /// Records the loss of the connection, which interrupts all exchanges in flight.
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

    /// Handles an acknowledgement that reaches the sender.
    pub fn answered(&mut self, packet: &WirePacket) {
        if packet.kind == PUBCOMP {
            self.lost.remove(&packet.identifier);
        }
        let failed = packet.reason >= 0x80;
        let Some(exchange) = self.open.get_mut(&packet.identifier) else {
            return;
        };
        match (packet.kind, exchange.qos) {
            // A PUBREC with an error ends the exchange: no PUBREL follows [MQTT-4.3.3-4].
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
                // The first PUBLISH of a message has DUP 0 [MQTT-4.3.2-2, MQTT-4.3.3-2].
                if packet.dup {
                    return Err(fail("I11", packet, "DUP on the first delivery"));
                }
                // Messages keep their order [MQTT-4.6.0-5], so all old exchanges are resent on a connection before a
                // new one begins.
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
                // A message is resent only after a reconnect [MQTT-4.4.0-1].
                if exchange.connection == connection {
                    return Err(fail(
                        "I7",
                        packet,
                        "an identifier that is open on this connection",
                    ));
                }
                // A sender that has received PUBREC resends PUBREL, never PUBLISH [MQTT-4.3.3-6].
                if exchange.released {
                    return Err(fail("I11", packet, "PUBLISH after PUBREC"));
                }
                // A message that is sent again has DUP 1 [MQTT-3.3.1-1].
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
                // Messages are resent in the order in which they were first sent [MQTT-4.6.0-1].
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
        // The send quota starts anew with each connection, so an exchange counts from its first packet on this
        // connection.
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
