//! SUBSCRIBE (MQTT 5.0, 3.8).

use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::subscription_identifier::SubscriptionIdentifier;
use crate::property::user_property::UserProperty;
use crate::property::{self, properties};
use crate::protocol::{PacketIdentifier, ProtocolVersion, QoS};
use crate::topic::TopicFilter;

/// A SUBSCRIBE packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The exchange.
    pub packet_identifier: PacketIdentifier,
    /// The requested subscriptions, at least one.
    pub subscriptions: Vec<Subscription>,
    /// Properties of 5.0.
    pub properties: SubscribeProperties,
}

/// A topic filter with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Which messages.
    pub topic_filter: TopicFilter,
    /// In which way.
    pub options: SubscriptionOptions,
}

/// The options of a subscription. 3.1 and 3.1.1 carry the QoS only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscriptionOptions {
    /// The highest QoS of the messages sent. Requested QoS in 3.1 and 3.1.1.
    pub qos: QoS,
    /// Set if the server does not deliver the client's own messages.
    pub no_local: bool,
    /// Set if the server keeps the retain flag as it was published.
    pub retain_as_published: bool,
    /// Which retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// Which retained messages a subscription is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// All that match, each time. 3.1 and 3.1.1 know only this.
    #[default]
    SendAtSubscribe,
    /// Those of a subscription that did not exist.
    SendIfNew,
    /// None.
    DoNotSend,
}

properties! {
    /// The properties of SUBSCRIBE.
    ordered SubscribeProperties {
        /// The number that messages for these subscriptions carry.
        0x0B subscription_identifier: Option<SubscriptionIdentifier>,
        /// What the application added.
        0x26 user_properties: Vec<UserProperty>,
    }
}

impl SubscriptionOptions {
    /// This QoS, all else as in 3.1.1.
    pub fn new(qos: QoS) -> Self {
        Self {
            qos,
            ..Self::default()
        }
    }

    fn decode(byte: u8, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let reserved = if version == ProtocolVersion::V5_0 {
            0b1100_0000
        } else {
            0b1111_1100
        };
        if byte & reserved != 0 && version != ProtocolVersion::V3_1 {
            return Err(DecodeError::SubscriptionOptions); // [MQTT-3.8.3-5]
        }
        let qos = QoS::from_value(byte & 3).ok_or(match version {
            ProtocolVersion::V5_0 => DecodeError::PropertyValue,
            _ => DecodeError::QoS, // [MQTT-3.8.3-4 of 3.1.1]
        })?;
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
                _ => return Err(DecodeError::PropertyValue),
            },
        })
    }

    /// The byte on the wire.
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
            ProtocolVersion::V5_0 => property::decode(reader)?,
            _ => SubscribeProperties::default(),
        };
        let mut subscriptions: Vec<Subscription> =
            Vec::with_capacity(count_filters(reader.rest(), 1));
        while !reader.is_empty() {
            let last = subscriptions.last().map(|last| &last.topic_filter);
            let topic_filter = decode_topic_filter(reader, last)?;
            let options = SubscriptionOptions::decode(reader.u8()?, version)?;
            if options.no_local && topic_filter.share_name().is_some() {
                return Err(DecodeError::PropertyValue); // [MQTT-3.8.3-4]
            }
            subscriptions.push(Subscription {
                topic_filter,
                options,
            });
        }
        if subscriptions.is_empty() {
            return Err(DecodeError::NothingListed); // [MQTT-3.8.3-2]
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
            property::encode(&self.properties, out);
        }
        for subscription in &self.subscriptions {
            out.put_string(&subscription.topic_filter);
            out.put_u8(subscription.options.byte(version));
        }
    }
}

/// Returns the number of topic filters in a large payload, each with as many bytes after it; 0 for a small one, whose
/// list may grow. A list of 500,000 entries that grows takes twice the memory that it needs. The number is at most
/// half the number of bytes, whatever they are.
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

/// Decodes a topic filter. One that is the same as the filter before it shares its memory: 2 MB of a repeated filter
/// are 500,000 filters, and an allocation for each would take 16 MB.
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
    fn counts_the_filters_of_large_payloads_without_a_limit_of_their_own() {
        assert_eq!(count_filters(&b"\x00\x01a\x00".repeat(1023), 1), 0);
        assert_eq!(count_filters(&b"\x00\x01a\x00".repeat(2000), 1), 2000);
        assert_eq!(count_filters(&b"\x00\x02ab".repeat(2000), 0), 2000);
        assert_eq!(count_filters(&[0; 8000], 0), 4000);
        assert_eq!(count_filters(&[255; 8000], 1), 1);
    }
}
