//! The two ends, and the link between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::*;
use mqtt_session::*;

/// A client or a server with its application, which acknowledges every message immediately by default.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) input: Vec<u8>,
    /// Payloads of the messages that were delivered to the application, in order.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) delivered: Vec<(u16, ReasonCode)>,
    pub(crate) other: Vec<String>,
    pub(crate) closed: Option<CloseReason>,
    /// Server: session of the last connection, with which the server answers CONNECT.
    pub(crate) session: Option<Session>,
    /// Client: unfinished messages of a lost session.
    pub(crate) unfinished: Vec<OutboundMessage>,
    pub(crate) auto_acknowledge: bool,
}

impl End {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            input: Vec::new(),
            messages: Vec::new(),
            delivered: Vec::new(),
            other: Vec::new(),
            closed: None,
            session: None,
            unfinished: Vec::new(),
            auto_acknowledge: true,
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.input);
        let mut input = &buffer[..];
        while let Some(event) = self.connection.handle_input(now, &mut input) {
            match event {
                Event::Connect(_) => {
                    let session = self.session.take();
                    self.connection
                        .accept(now, session, ConnackProperties::default());
                }
                Event::Connected { unfinished, .. } => self.unfinished.extend(unfinished),
                Event::Message(received) => {
                    let publish = received.publish();
                    self.messages.push(publish.payload.to_vec());
                    if let Some(identifier) = publish.delivery.packet_identifier() {
                        if self.auto_acknowledge {
                            self.connection
                                .acknowledge(now, identifier, ReasonCode::Success);
                        }
                    }
                }
                Event::Delivered {
                    packet_identifier,
                    reason_code,
                    ..
                } => {
                    self.delivered.push((packet_identifier.get(), reason_code));
                }
                Event::Closed(reason) => self.closed = Some(reason),
                Event::Subscribe(subscribe) => {
                    let codes = subscribe.subscriptions.iter();
                    let codes = codes.map(|s| ReasonCode::granted(s.options.qos)).collect();
                    let suback = Suback::new(subscribe.packet_identifier, codes);
                    self.connection.suback(now, suback);
                }
                other => self.other.push(format!("{other:?}")),
            }
        }
        self.input = input.to_vec();
    }

    pub(crate) fn take_output(&mut self, limit: usize) -> Vec<u8> {
        let pending = self.connection.output();
        let bytes = pending[..pending.len().min(limit)].to_vec();
        self.connection.consume_output(Instant::now(), bytes.len());
        bytes
    }
}

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) connect: Connect,
    pub(crate) config: Config,
    pub(crate) client: End,
    pub(crate) server: End,
}

impl Pair {
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        Self::with(
            Connect {
                clean_start: false,
                ..Connect::new(version, "c")
            },
            Config::default(),
        )
    }

    pub(crate) fn with(connect: Connect, config: Config) -> Self {
        let now = Instant::now();
        let client =
            Connection::client(&connect, Some(Session::default()), config.clone(), now).unwrap();
        let server = Connection::server(config.clone(), now);
        Self {
            now,
            connect,
            config,
            client: End::new(client),
            server: End::new(server),
        }
    }

    /// Transmits bytes in both directions until no end sends more, or until `budget` bytes have arrived.
    pub(crate) fn run(&mut self, budget: &mut usize) {
        loop {
            let up = self.client.take_output(*budget);
            *budget -= up.len();
            self.server.handle(self.now, &up);
            let down = self.server.take_output(*budget);
            *budget -= down.len();
            self.client.handle(self.now, &down);
            if up.is_empty() && down.is_empty() {
                return;
            }
        }
    }

    pub(crate) fn settle(&mut self) {
        self.run(&mut usize::MAX.clone());
    }

    /// Cuts the link. Both ends notice the cut and connect again. The server resumes its session if
    /// `server_keeps_session` is `true`.
    pub(crate) fn reconnect(&mut self, server_keeps_session: bool) {
        self.now += Duration::from_secs(1);
        let fresh = Connection::server(self.config.clone(), self.now);
        let mut old = std::mem::replace(&mut self.server.connection, fresh);
        let connected = old.is_connected() || old.unfinished_received() > 0;
        if connected && server_keeps_session {
            self.server.session = Some(old.take_session());
        }
        let next = Connection::server(self.config.clone(), self.now);
        let mut old = std::mem::replace(&mut self.client.connection, next);
        self.client.connection = Connection::client(
            &self.connect,
            Some(old.take_session()),
            self.config.clone(),
            self.now,
        )
        .unwrap();
        self.client.input.clear();
        self.server.input.clear();
    }

    pub(crate) fn publish(
        &mut self,
        payload: &'static str,
        qos: QoS,
    ) -> Result<Option<u16>, PublishError> {
        let identifier = self
            .client
            .connection
            .publish(self.now, outbound(payload, qos))?;
        Ok(identifier.map(PacketIdentifier::get))
    }
}

pub(crate) fn outbound(payload: &'static str, qos: QoS) -> OutboundMessage {
    let message = Message::new(TopicName::new("t").unwrap(), payload);
    OutboundMessage::new(Arc::new(message), qos)
}
