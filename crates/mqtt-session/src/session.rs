//! [`Session`] is the state that outlives a connection (MQTT 5.0, 4.1): the unfinished exchanges of QoS 1 and 2 in both
//! directions. Subscriptions and queued messages are not here; the broker stores them.

use mqtt_codec::{Delivery, PacketIdentifier, QoS};

use crate::delivery::OutboundMessage;
use crate::delivery::{Receiver, Sender};

/// Step of an exchange that must survive a crash. The recorded steps are sufficient for [`Session::restore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A message was sent. The message must be stored until it is released or finished.
    Sent(PacketIdentifier),
    /// PUBREC was received. The peer has the message. The packet identifier stays in use until PUBCOMP.
    Released(PacketIdentifier),
    /// The exchange is finished, and its packet identifier is free.
    Finished(PacketIdentifier),
    /// The application has accepted a message of QoS 2. The packet identifier is held until PUBREL: a PUBLISH with a
    /// held identifier is a duplicate and is not delivered.
    Held(PacketIdentifier),
    /// PUBREL was received, or the sender has lost its state. The packet identifier is no longer held.
    Unheld(PacketIdentifier),
}

/// Session state of one end of a connection, client or server, for both directions.
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    /// Changes since the last call of `take_changes`. `None` if changes are not recorded.
    changes: Option<Vec<Change>>,
}

impl Session {
    /// Restores a stored session. `sent` are the unfinished sent messages, oldest first; `None` stands for a released message.
    /// `held` are the held identifiers of received messages.
    pub fn restore(
        sent: impl IntoIterator<Item = (PacketIdentifier, Option<OutboundMessage>)>,
        held: impl IntoIterator<Item = PacketIdentifier>,
    ) -> Self {
        Self {
            sender: Sender::restore(sent),
            receiver: Receiver::restore(held),
            ..Self::default()
        }
    }

    /// Returns the session of a client that has lost the state of its earlier runs.
    ///
    /// The server may still hold packet identifiers of those runs. If the server resumes the session, this client makes
    /// the server release these identifiers before it publishes.
    pub fn without_state() -> Self {
        Self {
            sender: Sender::without_state(),
            ..Self::default()
        }
    }

    /// Starts to record changes. A session that already records changes is unchanged.
    pub(crate) fn record_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    pub(crate) fn note(&mut self, change: Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change);
        }
    }

    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.changes
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Returns the unfinished sent messages, oldest first. `None` stands for a released message.
    pub fn sent(&self) -> impl Iterator<Item = (PacketIdentifier, Option<&OutboundMessage>)> {
        self.sender.exchanges()
    }

    /// Returns the messages of [`Session::sent`] that the last connection has sent or resent, oldest first.
    pub fn sent_by_last_connection(&self) -> impl Iterator<Item = &OutboundMessage> {
        self.sender.sent_by_last_connection()
    }

    /// Returns the packet identifiers that are held until PUBREL.
    pub fn held(&self) -> impl Iterator<Item = PacketIdentifier> {
        self.receiver.held_identifiers()
    }

    /// Records that the application has accepted a message of QoS 2 after the connection of the message has ended. A
    /// duplicate of the message will not be delivered. For QoS 0 and 1 nothing is recorded.
    pub fn hold_identifier(&mut self, delivery: Delivery) {
        if let Delivery::ExactlyOnce {
            packet_identifier, ..
        } = delivery
        {
            // The peer did not receive PUBREC, so the peer will resend the message on the next connection.
            self.receiver.hold(packet_identifier);
            self.note(Change::Held(packet_identifier));
        }
    }

    /// Gives up the sent messages for which `may_have` returns `false`, for example because the subscriber has lost the
    /// permission to read them.
    ///
    /// A message of QoS 2 is released, as if PUBREC had been received: the subscriber may have the message already and
    /// hold the packet identifier. `records_changes` has the meaning of [`crate::Config::records_changes`].
    pub fn withdraw(&mut self, records_changes: bool, may_have: impl Fn(&OutboundMessage) -> bool) {
        if records_changes {
            self.record_changes();
        }
        let is_withdrawn = |(packet_identifier, outbound): (_, Option<&OutboundMessage>)| {
            let outbound = outbound.filter(|outbound| !may_have(outbound))?;
            Some((packet_identifier, outbound.qos))
        };
        let withdrawn: Vec<_> = self.sent().filter_map(is_withdrawn).collect();
        for (packet_identifier, qos) in withdrawn {
            match qos {
                // The peer may hold the packet identifier. Only PUBREL releases a held identifier.
                QoS::ExactlyOnce => {
                    self.note(Change::Released(packet_identifier));
                    self.sender.release(packet_identifier);
                }
                _ => {
                    self.note(Change::Finished(packet_identifier));
                    self.sender.drop_exchange(packet_identifier);
                }
            }
        }
    }

    /// Returns the number of sent messages of QoS 1 and 2 whose exchange is not finished.
    pub fn unfinished_sent(&self) -> usize {
        self.sender.len()
    }

    /// Returns the number of accepted messages of QoS 2 that the sender has not released.
    pub fn unfinished_received(&self) -> usize {
        self.receiver.held_identifiers().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_identifier_of_a_qos_2_message_accepted_after_its_connection() {
        let mut session = Session::default();
        let packet_identifier = PacketIdentifier::FIRST;
        let dup = false;
        session.hold_identifier(Delivery::AtLeastOnce {
            packet_identifier,
            dup,
        });
        assert_eq!(session.unfinished_received(), 0);
        let delivery = Delivery::ExactlyOnce {
            packet_identifier,
            dup,
        };
        session.hold_identifier(delivery);
        session.hold_identifier(delivery);
        assert_eq!(session.held().collect::<Vec<_>>(), [packet_identifier]);
    }
}
