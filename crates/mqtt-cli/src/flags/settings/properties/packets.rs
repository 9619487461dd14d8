//! [`Properties`]: the properties of each packet.

use mqtt_codec::{
    ConnectProperties, DisconnectProperties, MessageProperties, ProtocolVersion,
    SubscribeProperties, TopicAlias, UnsubscribeProperties,
};

use crate::failure::Failure;

/// The properties that the options `-D` set, for each packet.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    pub(crate) connect: ConnectProperties,
    pub(crate) publish: Option<Box<MessageProperties>>,
    pub(crate) topic_alias: Option<TopicAlias>,
    pub(crate) subscribe: SubscribeProperties,
    pub(crate) unsubscribe: UnsubscribeProperties,
    pub(crate) disconnect: DisconnectProperties,
    pub(crate) will: Option<Box<MessageProperties>>,
    pub(crate) will_delay_interval: Option<u32>,
    pub(crate) is_used: bool,
}

impl Properties {
    /// Checks that the MQTT version supports properties.
    ///
    /// # Errors
    /// If there are properties and the version is older than 5.0.
    pub(in crate::flags::settings) fn check(
        &self,
        version: ProtocolVersion,
    ) -> Result<(), Failure> {
        if self.is_used && version != ProtocolVersion::V5_0 {
            return Err(Failure::usage("This feature is not supported.").with_hint(
                "Properties (-D) need MQTT 5, but a later -V selects another version.",
            ));
        }
        Ok(())
    }
}
