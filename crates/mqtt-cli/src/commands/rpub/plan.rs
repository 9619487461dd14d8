//! The plan of rpub: the settings after every check that needs no network. `mod.rs` makes the plan, and `publisher/`
//! carries it out.

use std::time::Duration;

use mqtt_client::Options;
use mqtt_codec::{MessageProperties, QoS, TopicName};

use crate::commands::setup::ClientPlan;
use crate::flags::settings::connection::ConnectionSettings;
use crate::flags::settings::message::{Content, LineForm};

/// Maximum number of connections in a row that the broker may close because of the same line. Then rpub skips the line.
pub(super) const MAXIMUM_LOSSES: u32 = 3;

/// The plan of rpub.
#[derive(Debug)]
pub(super) struct PublishPlan {
    pub(super) client: ClientPlan,
    /// The topic of `-t`. Lines with a topic of their own ignore it.
    pub(super) topic_name: Option<TopicName>,
    pub(super) content: Content,
    pub(super) properties: Option<Box<MessageProperties>>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) repeat: u64,
    /// The time between the end of one message and the start of the next message, from `--repeat-delay`.
    pub(super) delay: Duration,
    /// Set if rpub may show its progress: without `--quiet`, and without `-d` and `--trace`, whose lines would be mixed
    /// with the progress.
    pub(super) has_progress: bool,
    /// Set by `--report`.
    pub(super) has_report: bool,
}

impl PublishPlan {
    /// Returns `true` if each line of the input is a JSON object. The QoS may then differ between messages.
    pub(super) fn has_json(&self) -> bool {
        matches!(&self.content, Content::Lines(lines) if lines.form == LineForm::Json)
    }

    /// Creates a plan that publishes each payload once with QoS 0.
    pub(super) fn new(
        connection: &ConnectionSettings,
        options: Options,
        topic_name: Option<TopicName>,
        content: Content,
    ) -> Self {
        Self {
            client: ClientPlan::new(connection, options),
            topic_name,
            content,
            properties: connection.properties.publish.clone(),
            qos: QoS::AtMostOnce,
            retain: false,
            repeat: 1,
            delay: Duration::ZERO,
            has_report: connection.report.is_some(),
            has_progress: !connection.quiet && !connection.debug && connection.trace.is_none(),
        }
    }
}
