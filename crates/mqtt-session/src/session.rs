//! What outlives a connection (MQTT 5.0, 4.1): messages sent and not finished, identifiers of
//! messages received and not finished. Subscriptions and waiting messages are the broker's.

use mqtt_codec::{Delivery, PacketIdentifier, QoS};

use crate::OutboundMessage;
use crate::delivery::{Receiver, Sender};

/// A step of an exchange that has to survive a crash. What is kept of them is enough for
/// [`Session::restore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A message was sent that is kept until it is released or finished.
    Sent(PacketIdentifier),
    /// PUBREC came: the message is the peer's, the identifier is still in use.
    Released(PacketIdentifier),
    /// The exchange is over.
    Finished(PacketIdentifier),
    /// A message of QoS 2 was taken over: repeats under its identifier are not handed on.
    Held(PacketIdentifier),
    /// Its sender has released it.
    Unheld(PacketIdentifier),
}

/// The state of both directions that has to survive a connection. The same for client and server.
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    /// What has changed, if that is recorded.
    changes: Option<Vec<Change>>,
}

impl Session {
    /// A session as it was stored: what was sent and not finished, oldest first (`None` for a message
    /// that was released), and the identifiers that are held.
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

    /// Returns the session of a client that has lost the state of its earlier runs. The server may hold packet
    /// identifiers of those: if it resumes the session, this client has it release them before it publishes.
    pub fn without_state() -> Self {
        Self {
            sender: Sender::without_state(),
            ..Self::default()
        }
    }

    /// From now on changes are recorded.
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

    /// Returns the messages in flight to the peer, oldest first; `None` for a message that was released.
    pub fn sent(&self) -> impl Iterator<Item = (PacketIdentifier, Option<&OutboundMessage>)> {
        self.sender.exchanges()
    }

    /// The messages of [`Session::sent`] that the last connection has sent, oldest first.
    pub fn sent_by_last_connection(&self) -> impl Iterator<Item = &OutboundMessage> {
        self.sender.sent_by_last_connection()
    }

    /// The identifiers that are held.
    pub fn held(&self) -> impl Iterator<Item = PacketIdentifier> {
        self.receiver.held_identifiers()
    }

    /// The application has taken a message of QoS 2 over whose connection was gone by then: a repeat
    /// of it will not be handed on. For QoS 1 there is nothing to record.
    pub fn accept_message(&mut self, delivery: Delivery) {
        if let Delivery::ExactlyOnce {
            packet_identifier, ..
        } = delivery
        {
            self.receiver.hold(packet_identifier);
            self.note(Change::Held(packet_identifier));
        }
    }

    /// Gives up messages that the peer may not have any more. One of QoS 2 may be with the peer already: it
    /// is released, as if PUBREC had come. `records_changes` as in [`crate::Config::records_changes`].
    pub fn withdraw(&mut self, records_changes: bool, may_have: impl Fn(&OutboundMessage) -> bool) {
        if records_changes {
            self.record_changes();
        }
        let denied = |(packet_identifier, outbound): (_, Option<&OutboundMessage>)| {
            let outbound = outbound.filter(|outbound| !may_have(outbound))?;
            Some((packet_identifier, outbound.qos))
        };
        let denied: Vec<_> = self.sent().filter_map(denied).collect();
        for (packet_identifier, qos) in denied {
            match qos {
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

    /// Messages of QoS 1 and 2 that were sent and are not finished.
    pub fn unfinished_sent(&self) -> usize {
        self.sender.len()
    }

    /// Messages of QoS 2 that were taken over and not released by their sender yet.
    pub fn unfinished_received(&self) -> usize {
        self.receiver.held_identifiers().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_taken_over_after_its_connection_is_held_and_one_of_qos_1_is_not() {
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
