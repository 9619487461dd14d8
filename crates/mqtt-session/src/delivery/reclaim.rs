//! [`Reclaim`]: packet identifiers that the peer may hold from an earlier run of this end whose state is lost.
//!
//! A receiver of QoS 2 holds an identifier from PUBREC to PUBREL, even if the connection ends in between. It treats a
//! PUBLISH with a held identifier as a duplicate [MQTT-4.3.3-10]. A client that was killed and has lost its session
//! state does not know which identifiers the server holds. A clean start would free them, but would also discard the
//! messages that the server has queued for the client. So the client sends PUBREL for each identifier that its messages
//! may get, and uses an identifier only after its PUBCOMP. The server sends PUBCOMP for identifiers that it does not
//! hold too [MQTT-4.3.3-11]. Nothing is sent before the client publishes, because a subscriber needs none of these
//! identifiers.

use std::collections::BTreeSet;

use mqtt_codec::PacketIdentifier;

#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Identifiers that the peer may hold. `None` stands for all of them.
    held: Option<BTreeSet<PacketIdentifier>>,
    /// Set after this connection has sent PUBREL for each of these identifiers.
    is_sent: bool,
}

impl Reclaim {
    /// Starts to release identifiers on this connection. Returns the identifiers up to `highest` for which PUBREL must
    /// be sent now.
    pub(crate) fn begin(&mut self, highest: PacketIdentifier) -> Vec<PacketIdentifier> {
        self.is_sent = true;
        let all = || (1..=highest.get()).filter_map(PacketIdentifier::new);
        // A connection that ends in between leaves a part of the identifiers. Only those are released again.
        let held = self.held.get_or_insert_with(|| all().collect());
        held.iter().copied().collect()
    }

    /// Handles PUBCOMP: the peer has released this identifier.
    pub(crate) fn handle_pubcomp(&mut self, packet_identifier: PacketIdentifier) {
        if let Some(held) = &mut self.held {
            held.remove(&packet_identifier);
        }
    }

    /// Records that a new connection resumes the session. PUBREL must be sent again, because PUBREL or its
    /// PUBCOMP may be lost.
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

    /// Returns the number of identifiers that the peer may hold. Valid after `begin`.
    pub(crate) fn held(&self) -> usize {
        self.held.as_ref().map_or(0, BTreeSet::len)
    }

    /// Returns `true` if the peer has released all identifiers.
    pub(crate) fn is_over(&self) -> bool {
        self.held.as_ref().is_some_and(BTreeSet::is_empty)
    }
}
