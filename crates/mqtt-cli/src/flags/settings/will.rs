//! The settings of the will: the message that the broker publishes if the connection ends without DISCONNECT.

use bytes::Bytes;
use mqtt_codec::{Message, QoS, TopicName, Will};

use crate::failure::Failure;
use crate::flags::settings::properties::Properties;

/// The settings of the will.
#[derive(Debug)]
pub(crate) struct WillSettings {
    pub(crate) topic_name: Option<TopicName>,
    pub(crate) payload: Option<Bytes>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

impl Default for WillSettings {
    fn default() -> Self {
        Self {
            topic_name: None,
            payload: None,
            qos: QoS::AtMostOnce,
            retain: false,
        }
    }
}

impl WillSettings {
    /// Returns the will, or `None` if no will was given.
    ///
    /// # Errors
    /// If the payload or `--will-retain` is given without the topic of the will.
    pub(super) fn will(&self, properties: &Properties) -> Result<Option<Will>, Failure> {
        // Without a topic the will would be dropped, and the user would notice that only when the client dies.
        let Some(topic_name) = &self.topic_name else {
            let text = if self.payload.is_some() {
                "Will payload given, but no will topic given."
            } else if self.retain {
                "Will retain given, but no will topic given."
            } else {
                return Ok(None);
            };
            return Err(Failure::usage(text).with_hint("Give the topic with --will-topic."));
        };
        let message = Message {
            retain: self.retain,
            // The Will Delay Interval is not a property of the message. It belongs to the will in CONNECT.
            properties: properties.will.clone(),
            ..Message::new(topic_name.clone(), self.payload.clone().unwrap_or_default())
        };
        let mut will = Will::new(message, self.qos);
        will.will_delay_interval = properties.will_delay_interval;
        Ok(Some(will))
    }
}
