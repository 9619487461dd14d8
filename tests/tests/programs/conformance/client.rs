//! The client under test: the core of the client, which is driven by bytes in virtual time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::{ClientCore, ClientError, Options, Reconnect};
use mqtt_codec::{
    Auth, AuthProperties, Disconnect, Message, PacketIdentifier, ProtocolVersion, QoS, ReasonCode,
    SubscribeProperties, Subscription, SubscriptionOptions, TopicFilter, TopicName,
};
use mqtt_session::{CloseReason, Event, OutboundMessage, PublishError, Session};

use super::bytes::*;
use super::record::{End, hex, proves, record};
use super::server::concat;

pub(crate) struct Client {
    pub(crate) core: ClientCore,
    version: u8,
    now: Instant,
    /// The events that the application has received, in order.
    pub(crate) events: Vec<String>,
    /// Set if the application acknowledges each message immediately.
    pub(crate) acknowledges: bool,
    lost: Option<ClientError>,
}

/// Returns the options of a client of this version without keep alive, whose session outlives the connection.
pub(crate) fn options(version: u8) -> Options {
    let version = match version {
        3 => ProtocolVersion::V3_1,
        4 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5_0,
    };
    let mut options = Options::new("server", 1883);
    options.reconnect = Reconnect::Always;
    options.connect.protocol_version = version;
    options.connect.client_identifier = "c".into();
    options.connect.keep_alive = 0;
    options.connect.clean_start = false;
    if version == ProtocolVersion::V5_0 {
        options.connect.properties.session_expiry_interval = Some(u32::MAX);
    }
    options
}

impl Client {
    /// Creates a client whose stream to the server is open. Its CONNECT is in the output.
    pub(crate) fn new(options: Options) -> Self {
        let version = options.connect.protocol_version.level();
        let session = (!options.connect.clean_start).then(Session::default);
        let mut client = Self {
            core: ClientCore::new(options, session),
            version,
            now: Instant::now(),
            events: Vec::new(),
            acknowledges: true,
            lost: None,
        };
        client.reach();
        client
    }

    /// Creates a client whose connection was accepted.
    pub(crate) fn connected(options: Options) -> Self {
        let mut client = Self::new(options);
        client.take();
        client.accept(false);
        client
    }

    /// Opens a stream to the server.
    pub(crate) fn reach(&mut self) {
        self.core.handle_reached(self.now).expect("CONNECT fits");
    }

    /// Lets the server accept the connection.
    #[track_caller]
    pub(crate) fn accept(&mut self, session_present: bool) {
        let session_present = session_present && self.version > 3;
        self.receive(connack(self.version, session_present, 0));
        assert!(self.core.is_connected(), "accepted: {:?}", self.lost);
    }

    /// Passes bytes of the server to the client.
    pub(crate) fn receive(&mut self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let (events, acknowledges, now) = (&mut self.events, self.acknowledges, self.now);
        let result = self
            .core
            .handle_input(now, &mut &bytes[..], &mut |connection, event| {
                if let Event::Message(received) = &event {
                    let identifier = received.publish().delivery.packet_identifier();
                    if let Some(identifier) = identifier.filter(|_| acknowledges) {
                        connection.acknowledge(now, identifier, ReasonCode::Success);
                    }
                }
                events.push(describe(&event));
                ControlFlow::Continue(())
            });
        if let Err(error) = result {
            self.lost = Some(error);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        let bytes = self.core.output().to_vec();
        self.core.consume_output(self.now, bytes.len());
        bytes
    }

    /// Asserts that the client has sent exactly these packets and that the connection is open.
    #[track_caller]
    pub(crate) fn shows<P: Clone + Into<Vec<u8>>>(&mut self, statements: &str, expected: &[P]) {
        let actual = hex(&self.take());
        let level = self.version;
        assert_eq!(
            actual,
            hex(&concat(expected)),
            "MQTT level {level}: {statements}"
        );
        assert!(self.lost.is_none(), "{:?}", self.lost);
        record(End::Client, self.version, statements);
    }

    /// Asserts that the client has sent exactly these bytes and has ended the connection.
    #[track_caller]
    pub(crate) fn shows_closed(&mut self, statements: &str, expected: &[u8]) {
        let level = self.version;
        assert_eq!(
            hex(&self.take()),
            hex(expected),
            "MQTT level {level}: {statements}"
        );
        let has_ended = self
            .core
            .connection()
            .is_none_or(|connection| connection.has_ended());
        assert!(has_ended, "the connection goes on: {statements}");
        record(End::Client, self.version, statements);
    }

    /// Asserts another observation, and records the statements.
    #[track_caller]
    pub(crate) fn proves<T: PartialEq + std::fmt::Debug>(
        &self,
        statements: &str,
        actual: T,
        expected: T,
    ) {
        proves(End::Client, self.version, statements, actual, expected);
    }

    /// Returns the code with which the server rejected the connection.
    pub(crate) fn refusal(&self) -> Option<u8> {
        match &self.lost {
            Some(ClientError::Closed(CloseReason::Refused(connack))) => {
                Some(connack.reason_code.value())
            }
            _ => None,
        }
    }

    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: &str,
        qos: u8,
    ) -> Result<(), PublishError> {
        let topic_name = TopicName::new(topic).expect("valid");
        let message = Message::new(topic_name, payload.to_owned());
        let qos = QoS::from_value(qos).expect("below 3");
        self.publish_message(OutboundMessage::new(Arc::new(message), qos))
    }

    pub(crate) fn publish_message(
        &mut self,
        outgoing: OutboundMessage,
    ) -> Result<(), PublishError> {
        self.core.publish(self.now, outgoing).map(|_| ())
    }

    pub(crate) fn acknowledge(&mut self, identifier: u16, code: ReasonCode) {
        let identifier = PacketIdentifier::new(identifier).expect("not 0");
        let now = self.now;
        let connection = self.core.connection().expect("there is one");
        connection.acknowledge(now, identifier, code);
    }

    pub(crate) fn subscribe(&mut self, filters: &[&str]) -> Result<(), PublishError> {
        let subscription = |filter: &&str| Subscription {
            topic_filter: TopicFilter::new(filter).expect("valid"),
            options: SubscriptionOptions::new(QoS::ExactlyOnce),
        };
        let subscriptions = filters.iter().map(subscription).collect();
        let now = self.now;
        let connection = self.core.connection().expect("there is one");
        let properties = SubscribeProperties::default();
        connection
            .subscribe(now, subscriptions, properties)
            .map(|_| ())
    }

    /// Returns `true` if a subscription to this filter with No Local is rejected.
    pub(crate) fn subscribe_no_local(&mut self, filter: &str) -> bool {
        let mut options = SubscriptionOptions::new(QoS::AtMostOnce);
        options.no_local = true;
        let topic_filter = TopicFilter::new(filter).expect("valid");
        let subscription = Subscription {
            topic_filter,
            options,
        };
        let now = self.now;
        let connection = self.core.connection().expect("there is one");
        let properties = SubscribeProperties::default();
        connection
            .subscribe(now, vec![subscription], properties)
            .is_err()
    }

    pub(crate) fn unsubscribe(&mut self, filters: &[&str]) {
        let filters = filters
            .iter()
            .map(|filter| TopicFilter::new(filter).expect("valid"));
        let (filters, now) = (filters.collect(), self.now);
        let connection = self.core.connection().expect("there is one");
        connection
            .unsubscribe(now, filters, Default::default())
            .expect("connected");
    }

    pub(crate) fn authenticate(
        &mut self,
        code: ReasonCode,
        data: &str,
    ) -> Result<(), PublishError> {
        let properties = AuthProperties {
            authentication_data: Some(data.to_owned().into()),
            ..AuthProperties::default()
        };
        let now = self.now;
        let connection = self.core.connection().expect("there is one");
        connection.authenticate(
            now,
            Auth {
                reason_code: code,
                properties,
            },
        )
    }

    pub(crate) fn disconnect(&mut self) {
        self.disconnect_with(ReasonCode::Success);
    }

    pub(crate) fn disconnect_with(&mut self, code: ReasonCode) {
        self.core.disconnect(self.now, Disconnect::new(code));
    }

    /// Loses the connection and opens another one. Takes its CONNECT from the output.
    pub(crate) fn reconnect(&mut self) {
        let error = self.lost.take();
        let error = error.unwrap_or(ClientError::Closed(CloseReason::ConnectionLost));
        let _ = self.core.handle_lost(self.now, error, 0);
        self.reach();
        self.take();
    }

    /// Advances the time, and handles the timeouts that become due.
    pub(crate) fn wait(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while let Some(next) = self.core.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.core.handle_timeout(self.now);
            self.receive(Vec::new());
            if self.lost.is_some() {
                break;
            }
        }
        self.now = end;
    }
}

/// Describes an event in a few words.
fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Auth(auth) => {
            let data = auth
                .properties
                .authentication_data
                .as_deref()
                .unwrap_or_default();
            let code = auth.reason_code.value();
            format!("auth {code:#04x} {}", String::from_utf8_lossy(data))
        }
        Event::Closed(_) => "closed".into(),
        Event::Connected { unfinished, .. } => {
            format!("connected, {} unfinished", unfinished.len())
        }
        Event::Deviation(deviation) => format!("warning: {deviation}"),
        Event::Delivered {
            packet_identifier,
            reason_code,
            ..
        } => {
            format!("delivered {packet_identifier} {:#04x}", reason_code.value())
        }
        Event::Message(received) => {
            let publish = received.publish();
            let payload = String::from_utf8_lossy(publish.payload);
            format!(
                "{} {payload} {}",
                publish.topic_name,
                publish.delivery.qos()
            )
        }
        Event::Subscribed(suback) => format!("subscribed {}", suback.packet_identifier),
        Event::Unsubscribed(suback) => format!("unsubscribed {}", suback.packet_identifier),
        Event::Connect(_) | Event::Subscribe(_) | Event::Unsubscribe(_) => "of a server".into(),
    }
}
