//! [`Reclaim`]: packet identifiers that the peer may hold from an earlier run of this end whose state is lost.
//!
//! A receiver of QoS 2 holds an identifier from PUBREC to PUBREL, over connections, and takes a PUBLISH under a held
//! identifier for a duplicate [MQTT-4.3.3-10]. A client that was killed and has lost its session state does not know
//! which identifiers those are. A clean start would free them, and would also discard the messages that the server
//! has queued for the client. So the client sends PUBREL for each identifier that it may give to a message, and uses
//! an identifier only after its PUBCOMP. The server delivers what it held, and answers for an identifier that it does
//! not hold as well [MQTT-4.3.3-11]. Nothing is sent before the client wants to publish: a subscriber needs no
//! identifier of these.

use std::collections::BTreeSet;

use mqtt_codec::PacketIdentifier;

#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// The identifiers that the peer may hold; `None` stands for all.
    held: Option<BTreeSet<PacketIdentifier>>,
    /// Set once this connection has sent PUBREL for each of them.
    is_sent: bool,
}

impl Reclaim {
    /// Returns the identifiers up to `highest` for which PUBREL must be sent now.
    pub(crate) fn begin(&mut self, highest: PacketIdentifier) -> Vec<PacketIdentifier> {
        self.is_sent = true;
        let all = || (1..=highest.get()).filter_map(PacketIdentifier::new);
        let held = self.held.get_or_insert_with(|| all().collect());
        held.iter().copied().collect()
    }

    /// The peer has released this identifier.
    pub(crate) fn handle_pubcomp(&mut self, packet_identifier: PacketIdentifier) {
        if let Some(held) = &mut self.held {
            held.remove(&packet_identifier);
        }
    }

    /// A new connection resumes the session: a PUBREL or its answer may be lost.
    pub(crate) fn resume(&mut self) {
        self.is_sent = false;
    }

    /// Returns `true` if this connection has not sent PUBREL yet.
    pub(crate) fn is_due(&self) -> bool {
        !self.is_sent
    }

    /// Returns `true` if the peer may hold this identifier.
    pub(crate) fn may_hold(&self, packet_identifier: PacketIdentifier) -> bool {
        let held = self.held.as_ref();
        held.is_none_or(|held| held.contains(&packet_identifier))
    }

    /// Returns the number of identifiers that the peer may hold, after `begin`.
    pub(crate) fn held(&self) -> usize {
        self.held.as_ref().map_or(0, BTreeSet::len)
    }

    /// Returns `true` if the peer has released all of them.
    pub(crate) fn is_over(&self) -> bool {
        self.held.as_ref().is_some_and(BTreeSet::is_empty)
    }
}
