//! [`Session`]: the state that outlives a connection (MQTT 5.0, 4.1), with the unfinished exchanges of both directions.
//! The broker stores subscriptions and queued messages.

use mqtt_codec::{Delivery, PacketIdentifier, QoS};

use crate::delivery::OutboundMessage;
use crate::delivery::{Receiver, Sender};

/// A step of an exchange that must survive a crash. The stored steps are sufficient for [`Session::restore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A message was sent. It must be stored until it is released or finished.
    Sent(PacketIdentifier),
    /// PUBREC was received. The peer has the message, and the identifier is still in use.
    Released(PacketIdentifier),
    /// The exchange is finished.
    Finished(PacketIdentifier),
    /// The application has accepted a message of QoS 2. Duplicates with its identifier are not delivered.
    Held(PacketIdentifier),
    /// The sender has released the identifier.
    Unheld(PacketIdentifier),
}

/// The state of both directions that outlives a connection, for client and server.
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    /// Changes since they were last taken. `None` if changes are not recorded.
    changes: Option<Vec<Change>>,
}

impl Session {
    /// Restores a stored session: the unfinished sent messages, oldest first, with `None` for a released message, and
    /// the held identifiers.
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
    /// The server may hold packet identifiers of those runs. If it resumes the session, this client makes the server
    /// release them before it publishes.
    pub fn without_state() -> Self {
        Self {
            sender: Sender::without_state(),
            ..Self::default()
        }
    }

    /// Starts to record changes.
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

    /// Returns the unfinished sent messages, oldest first, with `None` for a released message.
    pub fn sent(&self) -> impl Iterator<Item = (PacketIdentifier, Option<&OutboundMessage>)> {
        self.sender.exchanges()
    }

    /// Returns the messages of [`Session::sent`] that the last connection has sent or resent, oldest first.
    pub fn sent_by_last_connection(&self) -> impl Iterator<Item = &OutboundMessage> {
        self.sender.sent_by_last_connection()
    }

    /// Returns the held identifiers.
    pub fn held(&self) -> impl Iterator<Item = PacketIdentifier> {
        self.receiver.held_identifiers()
    }

    /// Records that the application has accepted a message of QoS 2 after its connection had ended. A duplicate of the
    /// message will not be delivered. QoS 1 has nothing to record.
    pub fn accept_message(&mut self, delivery: Delivery) {
        if let Delivery::ExactlyOnce {
            packet_identifier, ..
        } = delivery
        {
            // The peer did not receive PUBREC, so that it resends the message on the next connection.
            self.receiver.hold(packet_identifier);
            self.note(Change::Held(packet_identifier));
        }
    }

    /// Gives up the messages for which `may_have` returns `false`, because the receiver has lost the permission to read
    /// them.
    ///
    /// The peer may have a message of QoS 2 already, and hold its identifier. Such a message is released, as after
    /// PUBREC. `records_changes` has the meaning of [`crate::Config::records_changes`].
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
                // The peer may hold the identifier, which only PUBREL releases.
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
        session.accept_message(Delivery::AtLeastOnce {
            packet_identifier,
            dup,
        });
        assert_eq!(session.unfinished_received(), 0);
        let delivery = Delivery::ExactlyOnce {
            packet_identifier,
            dup,
        };
        session.accept_message(delivery);
        session.accept_message(delivery);
        assert_eq!(session.held().collect::<Vec<_>>(), [packet_identifier]);
    }
}
