//! [`Reclaim`] releases packet identifiers of an earlier run. The state of that run is lost, and the peer may still
//! hold its identifiers.
//!
//! A receiver of QoS 2 holds a packet identifier from PUBREC to PUBREL, even if the connection ends in between. The
//! receiver treats a PUBLISH with a held identifier as a duplicate [MQTT-4.3.3-10]. A client that has lost its session
//! state, for example because its process was killed, cannot find out which identifiers the server holds. Clean Start
//! would free them, but would also discard the messages that the server has queued for the client.
//!
//! Therefore the client sends PUBREL for each identifier that its messages may get, and uses an identifier only after
//! PUBCOMP. The server answers PUBREL even for an identifier that it does not hold [MQTT-4.3.3-11]. The client sends no
//! PUBREL before it publishes for the first time, because a client that only subscribes needs none of these
//! identifiers.

use std::collections::BTreeSet;

use mqtt_codec::PacketIdentifier;

/// Packet identifiers of an earlier run, and the progress of their release.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Identifiers that the peer may hold. `None` means that all identifiers may be held.
    held: Option<BTreeSet<PacketIdentifier>>,
    /// Set when this connection has sent PUBREL for all identifiers in `held`.
    is_sent: bool,
}

impl Reclaim {
    /// Starts the release on this connection. Returns the identifiers up to `highest` for which the caller must send
    /// PUBREL now.
    pub(crate) fn begin(&mut self, highest: PacketIdentifier) -> Vec<PacketIdentifier> {
        self.is_sent = true;
        let all = || (1..=highest.get()).filter_map(PacketIdentifier::new);
        // If an earlier connection has released some of the identifiers, only the others are left in `held`.
        let held = self.held.get_or_insert_with(|| all().collect());
        held.iter().copied().collect()
    }

    /// Records that PUBCOMP was received: the peer no longer holds this identifier.
    pub(crate) fn handle_pubcomp(&mut self, packet_identifier: PacketIdentifier) {
        if let Some(held) = &mut self.held {
            held.remove(&packet_identifier);
        }
    }

    /// Records that a new connection resumes the session. PUBREL must be sent again, because PUBREL or PUBCOMP may have
    /// been lost with the earlier connection.
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

    /// Returns the number of identifiers that the peer may hold. The result is valid after `begin`.
    pub(crate) fn held(&self) -> usize {
        self.held.as_ref().map_or(0, BTreeSet::len)
    }

    /// Returns `true` if the peer has released all identifiers.
    pub(crate) fn is_over(&self) -> bool {
        self.held.as_ref().is_some_and(BTreeSet::is_empty)
    }
}
