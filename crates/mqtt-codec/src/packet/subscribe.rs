//! SUBSCRIBE (MQTT 5.0, 3.8) and the options of a subscription.

use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::subscription_identifier::SubscriptionIdentifier;
use crate::property::table::{self, properties};
use crate::property::user_property::UserProperty;
use crate::protocol::{PacketIdentifier, ProtocolVersion, QoS};
use crate::topic::TopicFilter;

/// Content of SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Subscribe {
    /// Packet identifier. SUBACK has the same one.
    pub packet_identifier: PacketIdentifier,
    /// Requested subscriptions, at least one.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::subscriptions))]
    pub subscriptions: Vec<Subscription>,
    /// Properties, which only MQTT 5.0 has.
    pub properties: SubscribeProperties,
}

/// Topic filter with its subscription options.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Subscription {
    /// Topic filter.
    pub topic_filter: TopicFilter,
    /// Options for the delivery of matching messages.
    pub options: SubscriptionOptions,
}

/// Options of a subscription. MQTT 3.1 and 3.1.1 have only the QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SubscriptionOptions {
    /// Maximum QoS of the messages that the server delivers. MQTT 3.1 and 3.1.1 call this field the requested QoS.
    pub qos: QoS,
    /// Set if the server must not deliver messages to the client that published them.
    pub no_local: bool,
    /// Set if the server must forward the RETAIN flag unchanged.
    pub retain_as_published: bool,
    /// Rule for retained messages at the time of SUBSCRIBE.
    pub retain_handling: RetainHandling,
}

/// Rule for sending retained messages at the time of SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum RetainHandling {
    /// The server sends all matching retained messages at each SUBSCRIBE. MQTT 3.1 and 3.1.1 have only this rule.
    #[default]
    SendAtSubscribe,
    /// The server sends the matching retained messages only if the subscription did not exist before.
    SendIfNew,
    /// The server sends no retained messages.
    DoNotSend,
}

properties! {
    /// Properties of SUBSCRIBE.
    ordered SubscribeProperties {
        /// Number that the server adds to each message that matches one of these subscriptions.
        0x0B subscription_identifier: Option<SubscriptionIdentifier>,
        /// User properties.
        0x26 user_properties: Vec<UserProperty>,
    }
}

impl SubscriptionOptions {
    /// Returns options with this QoS. The other options have the behaviour of MQTT 3.1.1.
    pub fn new(qos: QoS) -> Self {
        Self {
            qos,
            ..Self::default()
        }
    }

    /// Decodes the subscription options byte.
    ///
    /// # Errors
    /// Returns an error if a reserved bit is set or a value is not defined in this version of the protocol.
    pub fn from_byte(byte: u8, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let reserved = if version == ProtocolVersion::V5_0 {
            0b1100_0000
        } else {
            0b1111_1100
        };
        if byte & reserved != 0 && version != ProtocolVersion::V3_1 {
            // Reserved bits must be zero [MQTT-3.8.3-5]. MQTT 3.1 does not define these bits, so they are ignored
            // there.
            return Err(DecodeError::SubscriptionOptions);
        }
        let qos = QoS::from_value(byte & 3).ok_or(match version {
            ProtocolVersion::V5_0 => DecodeError::PropertyValue,
            // In MQTT 3.1.1 a QoS of 3 is a malformed packet [MQTT-3.8.3-4 of 3.1.1].
            _ => DecodeError::QoS,
        })?;
        // MQTT 3.1 and 3.1.1 have no other options.
        if version != ProtocolVersion::V5_0 {
            return Ok(Self::new(qos));
        }
        Ok(Self {
            qos,
            no_local: byte & 1 << 2 != 0,
            retain_as_published: byte & 1 << 3 != 0,
            retain_handling: match byte >> 4 & 3 {
                0 => RetainHandling::SendAtSubscribe,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                // The value 3 is a Protocol Error (MQTT 5.0, 3.8.3.1).
                _ => return Err(DecodeError::PropertyValue),
            },
        })
    }

    /// Returns the subscription options byte.
    pub fn byte(self, version: ProtocolVersion) -> u8 {
        let qos = self.qos as u8;
        if version != ProtocolVersion::V5_0 {
            return qos;
        }
        qos | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }
}

impl Subscribe {
    pub(crate) fn decode(
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let packet_identifier = reader.packet_identifier()?;
        let properties = match version {
            ProtocolVersion::V5_0 => table::decode(reader)?,
            _ => SubscribeProperties::default(),
        };
        let mut subscriptions: Vec<Subscription> =
            Vec::with_capacity(count_filters(reader.rest(), 1));
        while !reader.is_empty() {
            // A filter that equals the filter before it shares its memory, because a hostile client may repeat one
            // filter.
            let last = subscriptions.last().map(|last| &last.topic_filter);
            let topic_filter = decode_topic_filter(reader, last)?;
            let options = SubscriptionOptions::from_byte(reader.u8()?, version)?;
            if options.no_local && topic_filter.share_name().is_some() {
                // No Local must not be set on a shared subscription [MQTT-3.8.3-4].
                return Err(DecodeError::PropertyValue);
            }
            subscriptions.push(Subscription {
                topic_filter,
                options,
            });
        }
        if subscriptions.is_empty() {
            // At least one topic filter is required [MQTT-3.8.3-2].
            return Err(DecodeError::NothingListed);
        }
        Ok(Self {
            packet_identifier,
            subscriptions,
            properties,
        })
    }

    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut impl FieldWriter) {
        out.put_u16(self.packet_identifier.get());
        if version == ProtocolVersion::V5_0 {
            table::encode(&self.properties, out);
        }
        for subscription in &self.subscriptions {
            out.put_string(&subscription.topic_filter);
            out.put_u8(subscription.options.byte(version));
        }
    }
}

/// Returns the number of topic filters in a large payload. Each topic filter is followed by `options` bytes. Returns 0
/// for a payload below 4 KiB, because a short list can grow while it is decoded.
///
/// The caller allocates its list with this size, because a list that grows to 500,000 entries allocates up to twice the
/// necessary memory. The result is at most half the number of payload bytes, so a small packet cannot cause a large
/// allocation.
pub(crate) fn count_filters(mut payload: &[u8], options: usize) -> usize {
    const LARGE: usize = 4096;
    if payload.len() < LARGE {
        return 0;
    }
    let mut count = 0;
    while let Some((length, rest)) = payload.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)) + options;
        payload = rest.get(length..).unwrap_or_default();
        count += 1;
    }
    count
}

/// Decodes a topic filter. A filter that equals `last` shares its memory: a client can repeat a short filter 500,000
/// times in 2 MB, and one allocation for each of them would take 16 MB.
pub(crate) fn decode_topic_filter(
    reader: &mut FieldReader<'_>,
    last: Option<&TopicFilter>,
) -> Result<TopicFilter, DecodeError> {
    let text = reader.string()?;
    match last.filter(|last| ***last == *text) {
        Some(last) => Ok(last.clone()),
        None => TopicFilter::new(text).map_err(|_| DecodeError::TopicFilter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_filters_of_large_payloads() {
        assert_eq!(count_filters(&b"\x00\x01a\x00".repeat(1023), 1), 0);
        assert_eq!(count_filters(&b"\x00\x01a\x00".repeat(2000), 1), 2000);
        assert_eq!(count_filters(&b"\x00\x02ab".repeat(2000), 0), 2000);
        assert_eq!(count_filters(&[0; 8000], 0), 4000);
        assert_eq!(count_filters(&[255; 8000], 1), 1);
    }
}
