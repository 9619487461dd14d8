//! The plan of `rrr --serve`: the subscriptions to requests, and the handlers that answer them.

use mqtt_client::Reconnect;
use mqtt_client::session::Printable;
use mqtt_codec::{ProtocolVersion, Subscription};

use crate::commands::handlers::ResponseSettings;
use crate::commands::rrr::RrrSettings;
use crate::commands::subscriber::SubscribePlan;
use crate::failure::Failure;
use crate::output::printer::Printing;

/// Makes the plan of a service. Returns the first error that can be found without a network.
pub(super) fn plan(settings: RrrSettings) -> Result<SubscribePlan, Failure> {
    check(&settings)?;
    let connection = &settings.connection;
    // A service has no end of its own, so it reconnects like rsub.
    let plan = SubscribePlan::new("rrr", Reconnect::Always, connection, &settings.output)?;
    let version = connection.version();
    if version != ProtocolVersion::V5_0 {
        plan.client.diagnostics.warn(
            "MQTT before 5.0 has no correlation data: a client cannot tell which response is to its request.",
        );
    }
    let options = settings.output.subscription_options(settings.message.qos);
    let subscription = |topic_filter| Subscription {
        topic_filter,
        options,
    };
    let mut handlers = settings.handlers;
    handlers.responses = Some(ResponseSettings {
        version,
        default_topic: settings.response_topic,
    });
    Ok(SubscribePlan {
        subscriptions: settings
            .topic_filters
            .into_iter()
            .map(subscription)
            .collect(),
        printing: Printing {
            is_silent: true,
            // The sender of a retained request has gone, or has its response already.
            no_retained: true,
            ..plan.printing
        },
        handlers: Some(handlers),
        ..plan
    })
}

fn check(settings: &RrrSettings) -> Result<(), Failure> {
    if settings.topic_filters.is_empty() {
        let text = "--serve needs a topic filter of requests (-t).";
        return Err(Failure::usage(text));
    }
    let is_request = !settings.message.sources.is_empty()
        || settings.shows_latency
        || settings.gather.is_some()
        || settings.gather_for.is_some();
    if is_request {
        let text =
            "--serve cannot be combined with a message, --latency, --gather or --gather-for.";
        return Err(Failure::usage(text));
    }
    match &settings.response_topic {
        None if settings.connection.version() != ProtocolVersion::V5_0 => Err(Failure::usage(
            "--serve needs the topic of the responses (-e) before MQTT 5.0.",
        )
        .with_hint(
            "In 5.0 (-V 5) each request names its response topic. Earlier versions have no field for it.",
        )),
        // Otherwise the service would answer its own responses without end.
        Some(topic_name)
            if settings
                .topic_filters
                .iter()
                .any(|filter| filter.matches(topic_name)) =>
        {
            let topic = Printable(topic_name);
            Err(Failure::usage(format!(
                "Invalid response topic '{topic}': it must not match a topic filter of requests."
            )))
        }
        _ => Ok(()),
    }
}
