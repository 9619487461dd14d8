//! The plan of rrr: the request, and the subscription to its response.

use std::sync::Arc;

use mqtt_client::Reconnect;
use mqtt_client::session::Printable;
use mqtt_codec::{Message, Property, ProtocolVersion, Subscription, TopicFilter, TopicName};

use crate::commands::rrr::RrrSettings;
use crate::commands::subscriber::{Request, SubscribePlan};
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::settings::connection::ConnectionSettings;
use crate::flags::settings::message::Content;

impl TryFrom<RrrSettings> for SubscribePlan {
    type Error = Failure;

    /// Makes the plan. Returns the first error that can be found without a network.
    fn try_from(settings: RrrSettings) -> Result<Self, Failure> {
        let connection = &settings.connection;
        let mut plan = Self::new("rrr", Reconnect::Never, connection, &settings.output)?;
        // The table of rrr has no -l, so a content of lines cannot occur here.
        let content = settings.message.content()?;
        let (Some(topic_name), Some(Content::Payload(payload)), Some(response_topic)) = (
            settings.message.topic_name,
            content,
            settings.response_topic,
        ) else {
            return Err(Failure::usage(
                "All of topic, message, and response topic must be supplied.",
            )
            .with_hint("Give the topic with -t, the response topic with -e, and the message with one of -m, -f, -s and -n."));
        };
        // rrr uses only the first response, so the broker may have only one message in flight.
        connection.take_at_most(&mut plan.client.options, 1);
        let message = request(topic_name, payload, &response_topic, connection)?;
        // Every topic name is a valid topic filter, except one that starts with `$share/`.
        let filter = TopicFilter::new(&response_topic);
        let topic_filter = filter.map_err(|_| {
            Failure::usage(format!(
                "Invalid response topic '{}'.",
                Printable(&response_topic)
            ))
            .with_hint("rrr cannot subscribe to a topic that starts with '$share/'.")
        })?;
        let subscription = Subscription {
            topic_filter,
            // As in mosquitto_rr, request and subscription have the same QoS: one -q sets both.
            options: settings.output.subscription_options(settings.message.qos),
        };
        Ok(Self {
            subscriptions: vec![subscription],
            // rrr ends after the first response.
            count: Some(1),
            request: Some(Request {
                message: Arc::new(message),
                qos: settings.message.qos,
                response_topic,
                shows_latency: settings.shows_latency,
            }),
            ..plan
        })
    }
}

/// Returns the request. In MQTT 5.0 the request contains the response topic. In older versions the service must know
/// the response topic.
///
/// # Errors
/// If `-D` sets a response topic too.
fn request(
    topic_name: TopicName,
    payload: bytes::Bytes,
    response_topic: &TopicName,
    connection: &ConnectionSettings,
) -> Result<Message, Failure> {
    let mut message = Message::new(topic_name, payload);
    // MQTT 3.1 and 3.1.1 have no properties.
    if connection.version() != ProtocolVersion::V5_0 {
        return Ok(message);
    }
    // The response topic is added after the properties of -D, which keep their order.
    let mut properties = connection.properties.publish.clone().unwrap_or_default();
    if properties
        .push(Property::ResponseTopic(response_topic))
        .is_err()
    {
        let text = "Error in PUBLISH properties: Duplicate response topic.";
        return Err(Failure::unmarked(Status::Failed, text)
            .with_hint("The response topic is given with -e and with -D."));
    }
    message.properties = Some(properties);
    Ok(message)
}
