//! Encodes and decodes the values in the store. A message is encoded as a PUBLISH packet of 5.0, so that there is one
//! encoding of messages; the fields that a PUBLISH packet does not have come before it. All numbers are big endian.
//!
//! A change of an encoding needs a new number of the format (`FORMAT` in `database.rs`).

use super::clock::Timeline;
use crate::store::error::StoreError;
use mqtt_broker_core::{
    ClientState, Expiry, Principal, Retained, RetainedReplayState, SubscriptionState,
};
use mqtt_codec::{
    Decoder, Delivery, MAXIMUM_PACKET_SIZE, Message, PacketIdentifier, PacketRef, ProtocolVersion,
    QoS, SubscriptionIdentifier, SubscriptionIdentifiers, SubscriptionOptions, TopicFilter,
    TopicName, Will,
};
use mqtt_session::OutboundMessage;
use std::sync::Arc;
use std::time::Instant;

/// The first byte of a delivery that contains its message.
const INLINE: u8 = 0;

/// The first byte of a delivery that refers to a shared message. The number of the message follows.
const SHARED: u8 = 1;

/// Returns the number of the shared message to which a delivery refers, or `None` if the delivery contains its message.
pub(super) fn shared_number(delivery: &[u8]) -> Option<u64> {
    let rest = delivery.strip_prefix(&[SHARED])?;
    rest.first_chunk().map(|number| u64::from_be_bytes(*number))
}

/// Returns the message without RETAIN. A queued message never has RETAIN, because RETAIN may differ between its
/// deliveries, which share the message.
fn without_retain(message: Message) -> Message {
    Message {
        retain: false,
        ..message
    }
}

/// Encodes one value.
pub(super) struct Writer {
    bytes: Vec<u8>,
    timeline: Timeline,
}

impl Writer {
    pub(super) fn new(timeline: Timeline) -> Self {
        Self {
            bytes: Vec::new(),
            timeline,
        }
    }

    pub(super) fn client(mut self, state: &ClientState) -> Vec<u8> {
        // The order of the fields is part of the format: `Reader::client` reads them in the same order.
        self.bytes.extend(state.expiry.interval().to_be_bytes());
        self.text(state.user_name.as_deref());
        self.bytes.extend(state.listener.to_be_bytes());
        self.bytes.push(state.is_connected.into());
        self.time(state.session_ends);
        self.time(state.will_due);
        match &state.will {
            None => self.bytes.push(0),
            Some(will) => {
                self.bytes.push(1);
                let delay = will.will_delay_interval.unwrap_or(0);
                self.bytes.extend(delay.to_be_bytes());
                self.message(&will.message, will.qos, will.message.retain, &[]);
            }
        }
        self.bytes
    }

    pub(super) fn subscription(mut self, state: &SubscriptionState) -> Vec<u8> {
        // A subscription in the store has the options byte of MQTT 5.0, whatever version its client uses.
        self.bytes.push(state.options.byte(ProtocolVersion::V5_0));
        let identifier = state.identifier.map_or(0, SubscriptionIdentifier::get);
        self.bytes.extend(identifier.to_be_bytes());
        self.bytes
    }

    /// Encodes a delivery with its message.
    pub(super) fn inline_delivery(mut self, outgoing: &OutboundMessage) -> Vec<u8> {
        self.bytes.push(INLINE);
        self.time(outgoing.expires());
        self.text(outgoing.share().map(|share| &**share));
        let identifiers = outgoing.subscription_identifiers();
        self.message(
            &outgoing.message,
            outgoing.qos,
            outgoing.retain,
            identifiers,
        );
        self.bytes
    }

    /// Encodes a delivery that refers to the shared message with this number.
    pub(super) fn shared_delivery(mut self, outgoing: &OutboundMessage, message: u64) -> Vec<u8> {
        self.bytes.push(SHARED);
        self.bytes.extend(message.to_be_bytes());
        self.time(outgoing.expires());
        self.text(outgoing.share().map(|share| &**share));
        // The lower two bits are the QoS, and the third bit is RETAIN.
        let flags = outgoing.qos as u8 | u8::from(outgoing.retain) << 2;
        self.bytes.push(flags);
        for identifier in outgoing.subscription_identifiers() {
            self.bytes.extend(identifier.get().to_be_bytes());
        }
        self.bytes
    }

    /// Encodes a shared message without QoS and RETAIN, which its deliveries have.
    pub(super) fn shared_message(mut self, message: &Message) -> Vec<u8> {
        self.message(message, QoS::AtMostOnce, false, &[]);
        self.bytes
    }

    pub(super) fn retained(mut self, retained: &Retained) -> Vec<u8> {
        self.time(retained.expires);
        let source = retained.source.as_deref();
        self.text(source.map(|source| &*source.client_identifier));
        self.text(source.and_then(|source| source.user_name.as_deref()));
        let listener = source.map_or(0, |source| source.listener);
        self.bytes.extend(listener.to_be_bytes());
        self.bytes.extend(retained.version.to_be_bytes());
        self.message(&retained.message, retained.qos, true, &[]);
        self.bytes
    }

    pub(super) fn replay(mut self, replay: &RetainedReplayState) -> Vec<u8> {
        self.bytes.extend(replay.number.to_be_bytes());
        self.bytes.extend(replay.version.to_be_bytes());
        self.text(replay.after.as_deref());
        self.bytes
    }

    /// Writes the length of a text plus one, and the text. The value 0 stands for `None`.
    fn text(&mut self, text: Option<&str>) {
        // The length fits into 32 bits: a text comes from an MQTT string of at most 65,535 bytes, or from the subject
        // of a certificate.
        let length = text.map_or(0, |text| text.len() + 1);
        self.bytes
            .extend(u32::try_from(length).unwrap_or(0).to_be_bytes());
        self.bytes
            .extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    /// Writes a time. The value 0 stands for `None`.
    fn time(&mut self, time: Option<Instant>) {
        let time = time.map_or(0, |time| self.timeline.time_of(time));
        self.bytes.extend(time.to_be_bytes());
    }

    /// Writes a message as a PUBLISH packet of 5.0.
    fn message(
        &mut self,
        message: &Message,
        qos: QoS,
        retain: bool,
        identifiers: &[SubscriptionIdentifier],
    ) {
        // The packet identifier is a placeholder, which the reader ignores.
        let mut publish = message.publish(Delivery::first(qos, PacketIdentifier::FIRST));
        publish.retain = retain;
        publish.properties.subscription_identifiers = SubscriptionIdentifiers::new(identifiers);
        // Encoding cannot fail: every message of the broker comes from a packet, or is not longer than one.
        let _ = PacketRef::Publish(publish).encode(
            ProtocolVersion::V5_0,
            MAXIMUM_PACKET_SIZE,
            &mut self.bytes,
        );
    }
}

/// Decodes one value.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    times: Times,
}

/// The time of the store, and the current time. A deadline that has passed is decoded as the current time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) timeline: Timeline,
    pub(super) now: Instant,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], times: Times) -> Self {
        Self { bytes, times }
    }

    pub(super) fn client(mut self) -> Result<ClientState, StoreError> {
        let expiry = Expiry::of_interval(u32::from_be_bytes(self.take()?));
        let user_name = self.text()?;
        let listener = u32::from_be_bytes(self.take()?);
        let [is_connected] = self.take()?;
        let session_ends = self.time()?;
        let will_due = self.time()?;
        let will = match self.take()? {
            [0] => None,
            [_] => {
                let delay = u32::from_be_bytes(self.take()?);
                let (message, qos, ..) = self.message()?;
                Some(Will {
                    will_delay_interval: (delay > 0).then_some(delay),
                    ..Will::new(message, qos)
                })
            }
        };
        Ok(ClientState {
            user_name,
            listener,
            expiry,
            session_ends,
            is_connected: is_connected != 0,
            will,
            will_due,
        })
    }

    pub(super) fn subscription(mut self) -> Result<SubscriptionState, StoreError> {
        let [byte] = self.take()?;
        let options = SubscriptionOptions::from_byte(byte, ProtocolVersion::V5_0)
            .map_err(|_| StoreError::Corrupt("a subscription is invalid"))?;
        let identifier = u32::from_be_bytes(self.take()?);
        Ok(SubscriptionState {
            options,
            identifier: SubscriptionIdentifier::new(identifier),
        })
    }

    /// Decodes a delivery. `shared` returns the shared message with a number, or `None` if the store has no such
    /// message.
    pub(super) fn delivery(
        mut self,
        shared: impl FnOnce(u64) -> Option<Arc<Message>>,
    ) -> Result<OutboundMessage, StoreError> {
        match self.take()? {
            [INLINE] => {
                let expires = self.time()?;
                let share = self.share()?;
                let (message, qos, retain, subscription_identifiers) = self.message()?;
                let outgoing = OutboundMessage {
                    retain,
                    ..OutboundMessage::new(Arc::new(without_retain(message)), qos)
                };
                let outgoing = outgoing.with_subscriptions(subscription_identifiers, share);
                Ok(outgoing.with_expiry(expires))
            }
            [SHARED] => {
                let number = u64::from_be_bytes(self.take()?);
                let message =
                    shared(number).ok_or(StoreError::Corrupt("a shared message is invalid"))?;
                let expires = self.time()?;
                let share = self.share()?;
                let [flags] = self.take()?;
                let qos = QoS::from_value(flags & 3)
                    .ok_or(StoreError::Corrupt("a delivery is invalid"))?;
                let outgoing = OutboundMessage {
                    retain: flags & 1 << 2 != 0,
                    ..OutboundMessage::new(message, qos)
                };
                let outgoing = outgoing.with_subscriptions(self.identifiers()?, share);
                Ok(outgoing.with_expiry(expires))
            }
            _ => Err(StoreError::Corrupt("a delivery is invalid")),
        }
    }

    /// Reads the topic filter of the shared subscription of a delivery, if it has one.
    fn share(&mut self) -> Result<Option<TopicFilter>, StoreError> {
        let share = self.text()?.map(|share| TopicFilter::new(&share));
        let share = share.transpose();
        share.map_err(|_| StoreError::Corrupt("a shared subscription is invalid"))
    }

    pub(super) fn shared_message(mut self) -> Result<Message, StoreError> {
        let (message, ..) = self.message()?;
        Ok(without_retain(message))
    }

    /// Reads subscription identifiers up to the end of the value.
    fn identifiers(&mut self) -> Result<Vec<SubscriptionIdentifier>, StoreError> {
        // The capacity follows the length of the value, so a corrupt value cannot request more memory than it has
        // bytes.
        let mut identifiers = Vec::with_capacity(self.bytes.len() / 4);
        while !self.bytes.is_empty() {
            let identifier = SubscriptionIdentifier::new(u32::from_be_bytes(self.take()?));
            identifiers.push(
                identifier.ok_or(StoreError::Corrupt("a subscription identifier is invalid"))?,
            );
        }
        Ok(identifiers)
    }

    pub(super) fn retained(mut self) -> Result<Retained, StoreError> {
        let expires = self.time()?;
        let client_identifier = self.text()?;
        let user_name = self.text()?;
        let listener = u32::from_be_bytes(self.take()?);
        let source = client_identifier.map(|client_identifier| {
            Arc::new(Principal {
                user_name,
                client_identifier: client_identifier.into(),
                listener,
            })
        });
        let version = u64::from_be_bytes(self.take()?);
        let (message, qos, ..) = self.message()?;
        Ok(Retained {
            message: Arc::new(message),
            qos,
            expires,
            source,
            version,
        })
    }

    pub(super) fn replay(mut self) -> Result<RetainedReplayState, StoreError> {
        let number = u64::from_be_bytes(self.take()?);
        let version = u64::from_be_bytes(self.take()?);
        let after = self.text()?;
        let after = after.map(|after| TopicName::new(&after)).transpose();
        Ok(RetainedReplayState {
            number,
            version,
            after: after.map_err(|_| StoreError::Corrupt("a topic name is invalid"))?,
        })
    }

    fn text(&mut self) -> Result<Option<String>, StoreError> {
        let length = u32::from_be_bytes(self.take()?);
        let Some(length) = length.checked_sub(1) else {
            return Ok(None);
        };
        let damaged = StoreError::Corrupt("a text is not valid UTF-8");
        let Some((text, rest)) = self.bytes.split_at_checked(length as usize) else {
            return Err(damaged);
        };
        self.bytes = rest;
        let text = std::str::from_utf8(text).map_err(|_| damaged)?;
        Ok(Some(text.to_owned()))
    }

    /// Reads the next `N` bytes.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (first, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or(StoreError::Corrupt("a value is too short"))?;
        self.bytes = rest;
        Ok(*first)
    }

    /// Reads a time.
    fn time(&mut self) -> Result<Option<Instant>, StoreError> {
        let time = u64::from_be_bytes(self.take()?);
        let Times { timeline, now } = self.times;
        Ok((time > 0).then(|| timeline.instant_of(time, now)))
    }

    /// Reads a message with its QoS, RETAIN and subscription identifiers from a PUBLISH packet.
    fn message(&mut self) -> Result<(Message, QoS, bool, Vec<SubscriptionIdentifier>), StoreError> {
        let damaged = StoreError::Corrupt("a message is invalid");
        // A client's decoder accepts subscription identifiers in PUBLISH, which only a server may send.
        let mut decoder = Decoder::client(ProtocolVersion::V5_0, MAXIMUM_PACKET_SIZE);
        let Ok(Some(PacketRef::Publish(publish))) = decoder.decode(&mut self.bytes) else {
            return Err(damaged);
        };
        let identifiers = publish.properties.subscription_identifiers.iter().collect();
        let message = publish.to_message().map_err(|_| damaged)?;
        Ok((message, publish.delivery.qos(), publish.retain, identifiers))
    }
}
