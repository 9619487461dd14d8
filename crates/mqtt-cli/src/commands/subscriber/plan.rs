//! The plan of rsub and rrr: the settings after every check that needs no network. `rsub/` and `rrr/` make the plan,
//! and `mod.rs` carries it out.

use std::time::Duration;

use mqtt_client::Reconnect;
use mqtt_codec::{
    ProtocolVersion, SubscribeProperties, Subscription, TopicFilter, UnsubscribeProperties,
};

use crate::commands::handlers::HandlerSettings;
use crate::commands::setup::ClientPlan;
use crate::commands::silence::Expectation;
use crate::failure::Failure;
use crate::flags::settings::connection::ConnectionSettings;
use crate::flags::settings::output::OutputSettings;
use crate::output::printer::Printing;

use super::request::Request;

/// The plan of rsub and rrr.
#[derive(Debug)]
pub(in crate::commands) struct SubscribePlan {
    pub(in crate::commands) client: ClientPlan,
    pub(in crate::commands) subscriptions: Vec<Subscription>,
    pub(in crate::commands) subscribe_properties: SubscribeProperties,
    pub(in crate::commands) unsubscribe: Vec<TopicFilter>,
    pub(in crate::commands) unsubscribe_properties: UnsubscribeProperties,
    pub(in crate::commands) printing: Printing,
    /// The number of printed messages after which the program ends.
    pub(in crate::commands) count: Option<u64>,
    /// Set by `-E`: end when the broker has answered the subscriptions.
    pub(in crate::commands) only_subscribe: bool,
    /// Set by `--snapshot`: end when the broker has sent all retained messages.
    pub(in crate::commands) is_snapshot: bool,
    /// The time of `--idle` without a message after which the program ends.
    pub(in crate::commands) idle: Option<Duration>,
    pub(in crate::commands) request: Option<Request>,
    /// The messages that `--expect` waits for.
    pub(in crate::commands) expectation: Option<Expectation>,
    /// Set by `--check`: end with a line for a monitoring system.
    pub(in crate::commands) is_check: bool,
    /// The handlers that get the messages, instead of standard output.
    pub(in crate::commands) handlers: Option<HandlerSettings>,
    pub(in crate::commands) debug: bool,
}

impl SubscribePlan {
    /// Creates a plan without subscriptions, from the settings that rsub and rrr share. `program` is the name of the
    /// program.
    ///
    /// # Errors
    /// If a setting of the connection is invalid.
    pub(in crate::commands) fn new(
        program: &'static str,
        reconnect: Reconnect,
        connection: &ConnectionSettings,
        output: &OutputSettings,
    ) -> Result<Self, Failure> {
        let options = connection.client_options(program, reconnect)?;
        let properties = &connection.properties;
        Ok(Self {
            client: ClientPlan::new(connection, options),
            subscriptions: Vec::new(),
            subscribe_properties: properties.subscribe.clone(),
            unsubscribe: Vec::new(),
            unsubscribe_properties: properties.unsubscribe.clone(),
            printing: Printing {
                quiet: connection.quiet,
                ..output.printing()
            },
            count: None,
            only_subscribe: false,
            is_snapshot: false,
            idle: None,
            request: None,
            expectation: None,
            is_check: false,
            handlers: None,
            debug: connection.debug && !connection.quiet,
        })
    }

    /// Returns `true` if the session lasts longer than the connection.
    pub(super) fn keeps_session(&self) -> bool {
        let connect = &self.client.options.connect;
        match connect.protocol_version {
            ProtocolVersion::V5_0 => connect.properties.session_expiry_interval.unwrap_or(0) > 0,
            _ => !connect.clean_start,
        }
    }
}
