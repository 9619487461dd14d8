//! The plan of rsub and rrr, which their settings become.

use std::sync::Arc;
use std::time::Instant;

use mqtt_client::Options;
use mqtt_codec::{
    Message, ProtocolVersion, QoS, SubscribeProperties, Subscription, TopicFilter, TopicName,
    UnsubscribeProperties,
};

use crate::commands::setup::ClientPlan;
use crate::flags::settings::connection::ConnectionSettings;
use crate::output::printer::Printing;

/// What will be done.
#[derive(Debug)]
pub(in crate::commands) struct SubscribePlan {
    pub(in crate::commands) client: ClientPlan,
    pub(in crate::commands) subscriptions: Vec<Subscription>,
    pub(in crate::commands) subscribe_properties: SubscribeProperties,
    pub(in crate::commands) unsubscribe: Vec<TopicFilter>,
    pub(in crate::commands) unsubscribe_properties: UnsubscribeProperties,
    pub(in crate::commands) printing: Printing,
    pub(in crate::commands) count: Option<u64>,
    /// End when the subscriptions are there.
    pub(in crate::commands) only_subscribe: bool,
    pub(in crate::commands) deadline: Option<Instant>,
    pub(in crate::commands) request: Option<Request>,
    pub(in crate::commands) debug: bool,
}

/// What rrr asks, and where it waits for the answer.
#[derive(Debug)]
pub(in crate::commands) struct Request {
    pub(in crate::commands) message: Arc<Message>,
    pub(in crate::commands) qos: QoS,
    pub(in crate::commands) response_topic: TopicName,
    pub(in crate::commands) shows_latency: bool,
}

impl SubscribePlan {
    /// With what the shared options say; nothing is subscribed to yet.
    pub(in crate::commands) fn new(
        connection: &ConnectionSettings,
        options: Options,
        printing: Printing,
    ) -> Self {
        let properties = &connection.properties;
        Self {
            client: ClientPlan::new(connection, options),
            subscriptions: Vec::new(),
            subscribe_properties: properties.subscribe.clone(),
            unsubscribe: Vec::new(),
            unsubscribe_properties: properties.unsubscribe.clone(),
            printing: Printing {
                quiet: connection.quiet,
                ..printing
            },
            count: None,
            only_subscribe: false,
            deadline: None,
            request: None,
            debug: connection.debug && !connection.quiet,
        }
    }

    /// Returns `true` if the session outlives the connection.
    pub(super) fn keeps_session(&self) -> bool {
        let connect = &self.client.options.connect;
        match connect.protocol_version {
            ProtocolVersion::V5_0 => connect.properties.session_expiry_interval.unwrap_or(0) > 0,
            _ => !connect.clean_start,
        }
    }

    /// Returns `true` if RETAIN of a message that comes is that of its publisher.
    pub(super) fn retains_as_published(&self) -> bool {
        let mut subscriptions = self.subscriptions.iter();
        subscriptions.any(|subscription| subscription.options.retain_as_published)
    }
}
