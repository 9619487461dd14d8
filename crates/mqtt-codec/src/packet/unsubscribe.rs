//! UNSUBSCRIBE (MQTT 5.0, 3.10), which removes subscriptions.

use super::subscribe::{count_filters, decode_topic_filter};
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::table::{self, properties};
use crate::property::user_property::UserProperty;
use crate::protocol::{PacketIdentifier, ProtocolVersion};
use crate::topic::TopicFilter;

/// Content of UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Unsubscribe {
    /// Packet identifier. UNSUBACK has the same one.
    pub packet_identifier: PacketIdentifier,
    /// Topic filters of the subscriptions to remove, at least one.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::topic_filters))]
    pub topic_filters: Vec<TopicFilter>,
    /// Properties, which only MQTT 5.0 has.
    pub properties: UnsubscribeProperties,
}

properties! {
    /// Properties of UNSUBSCRIBE.
    UnsubscribeProperties {
        /// User properties.
        0x26 user_properties: Vec<UserProperty>,
    }
}

impl Unsubscribe {
    pub(crate) fn decode(
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let packet_identifier = reader.packet_identifier()?;
        let properties = match version {
            ProtocolVersion::V5_0 => table::decode(reader)?,
            _ => UnsubscribeProperties::default(),
        };
        let mut topic_filters: Vec<TopicFilter> =
            Vec::with_capacity(count_filters(reader.rest(), 0));
        while !reader.is_empty() {
            let topic_filter = decode_topic_filter(reader, topic_filters.last())?;
            topic_filters.push(topic_filter);
        }
        if topic_filters.is_empty() {
            // At least one topic filter is required [MQTT-3.10.3-2].
            return Err(DecodeError::NothingListed);
        }
        Ok(Self {
            packet_identifier,
            topic_filters,
            properties,
        })
    }

    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut impl FieldWriter) {
        out.put_u16(self.packet_identifier.get());
        if version == ProtocolVersion::V5_0 {
            table::encode(&self.properties, out);
        }
        for topic_filter in &self.topic_filters {
            out.put_string(topic_filter);
        }
    }
}
