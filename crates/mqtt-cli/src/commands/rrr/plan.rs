//! The plan of rrr: the request, and the subscription to its response.

use mqtt_client::Reconnect;
use mqtt_client::session::Printable;
use mqtt_codec::{
    Message, MessageProperties, Property, ProtocolVersion, Subscription, TopicFilter, TopicName,
};

use crate::commands::rrr::{RrrSettings, serving};
use crate::commands::subscriber::{Inbox, Request, RespondTo, SubscribePlan, random_text};
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::settings::message::Content;

impl TryFrom<RrrSettings> for SubscribePlan {
    type Error = Failure;

    /// Makes the plan. Returns the first error that can be found without a network.
    fn try_from(mut settings: RrrSettings) -> Result<Self, Failure> {
        if settings.handlers.is_used() {
            return serving::plan(settings);
        }
        if let Some(failure) = settings.invalid_topic.take() {
            return Err(failure);
        }
        let connection = &settings.connection;
        let mut plan = Self::new("rrr", Reconnect::Never, connection, &settings.output)?;
        let message = message(&settings)?;
        let is_strict = settings.is_strict();
        let subscription_options = settings.output.subscription_options(settings.message.qos);
        let respond_to = match &settings.response_topic {
            Some(topic_name) => {
                plan.subscriptions.push(Subscription {
                    topic_filter: response_filter(topic_name)?,
                    // As in mosquitto_rr, request and subscription have the same QoS: one -q sets both.
                    options: subscription_options,
                });
                RespondTo::Topic(topic_name.clone())
            }
            None => {
                // The broker may permit only topics that start with its Response Information.
                let properties = &mut plan.client.options.connect.properties;
                properties.request_response_information.get_or_insert(true);
                RespondTo::Inbox(Inbox::new()?, subscription_options)
            }
        };
        if is_strict && connection.version() != ProtocolVersion::V5_0 {
            plan.client.diagnostics.warn(
                "MQTT before 5.0 has no correlation data: every new message of the response topic counts as a response.",
            );
        }
        let gather_for = settings.gather_for;
        // mosquitto_rr ends after the first response.
        let count = settings
            .gather
            .or_else(|| gather_for.is_none().then_some(1));
        if let Some(count) = count {
            // rrr uses no further response, so the broker must not have more messages in flight.
            connection.take_at_most(&mut plan.client.options, count);
        }
        let mut request = Request::new(message, settings.message.qos, respond_to);
        request.retains_as_published = settings.output.retain_as_published;
        request.shows_latency = settings.shows_latency;
        request.is_strict = is_strict;
        request.count = count;
        request.time = gather_for;
        Ok(Self {
            count,
            request: Some(request),
            ..plan
        })
    }
}

impl RrrSettings {
    /// Returns `true` for a request that mosquitto_rr cannot make. For such a request, rrr reports failures that
    /// mosquitto_rr hides.
    fn is_strict(&self) -> bool {
        self.response_topic.is_none() || self.gather.is_some() || self.gather_for.is_some()
    }
}

/// Returns the request. In MQTT 5.0 the request contains the response topic. In older versions the service must know
/// the response topic.
///
/// # Errors
/// If an option is missing, or `-D` sets a response topic too.
fn message(settings: &RrrSettings) -> Result<Message, Failure> {
    let has_properties = settings.connection.version() == ProtocolVersion::V5_0;
    let response_topic = settings.response_topic.as_ref();
    // The table of rrr has no -l, so a content of lines cannot occur here.
    let content = settings.message.content()?;
    let (Some(topic_name), Some(Content::Payload(payload)), true) = (
        settings.message.topic_name.clone(),
        content,
        has_properties || response_topic.is_some(),
    ) else {
        let hint = if has_properties {
            "Give the topic with -t, and the message with one of -m, -f, -s and -n."
        } else {
            "Give the topic with -t, the response topic with -e, and the message with one of -m, -f, -s and -n. \
             Without -e, rrr needs MQTT 5.0 (-V 5), in which a request names its response topic."
        };
        let text = "All of topic, message, and response topic must be supplied.";
        return Err(Failure::usage(text).with_hint(hint));
    };
    let mut message = Message::new(topic_name, payload);
    // MQTT 3.1 and 3.1.1 have no properties.
    if !has_properties {
        return Ok(message);
    }
    // The properties of rrr are added after those of -D, which keep their order.
    let given = settings.connection.properties.publish.clone();
    let mut properties = given.unwrap_or_default();
    if settings.is_strict() {
        // The correlation data of -D has precedence.
        let _ = properties.push(Property::CorrelationData(random_text()?.as_bytes()));
    }
    add_response_topic(&mut properties, response_topic)?;
    message.properties = Some(properties);
    Ok(message)
}

/// Adds the response topic of `-e`. The topic of an inbox is added when rrr is connected.
fn add_response_topic(
    properties: &mut MessageProperties,
    response_topic: Option<&TopicName>,
) -> Result<(), Failure> {
    let text = "Error in PUBLISH properties: Duplicate response topic.";
    let fail = |hint| Err(Failure::unmarked(Status::Failed, text).with_hint(hint));
    match response_topic {
        Some(topic_name) => match properties.push(Property::ResponseTopic(topic_name)) {
            Ok(()) => Ok(()),
            Err(_) => fail("The response topic is given with -e and with -D."),
        },
        None => {
            let is_response_topic = |property| matches!(property, Property::ResponseTopic(_));
            if properties.iter().any(is_response_topic) {
                return fail("Give the response topic with -e and not with -D.");
            }
            Ok(())
        }
    }
}

/// Returns the filter for a response topic. Every topic name is a valid topic filter, except one that starts with
/// `$share/`.
fn response_filter(topic_name: &TopicName) -> Result<TopicFilter, Failure> {
    TopicFilter::new(topic_name).map_err(|_| {
        let topic = Printable(topic_name);
        Failure::usage(format!("Invalid response topic '{topic}'."))
            .with_hint("rrr cannot subscribe to a topic that starts with '$share/'.")
    })
}
