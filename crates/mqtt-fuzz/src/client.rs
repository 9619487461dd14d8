//! Runs the client's end of a connection with an arbitrary server. Whatever the server sends, the client must send
//! permitted packets only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use mqtt_codec::{
    Connect, Disconnect, Message, PacketIdentifier, ProtocolVersion, QoS, ReasonCode,
    SubscribeProperties, Subscription, SubscriptionOptions, TopicFilter, TopicName,
};
use mqtt_session::{Config, Connection, Event, OutboundMessage, Session};
use mqtt_sim::checker::Direction;
use mqtt_sim::wire::PacketReader;

use crate::shape::Shape;

/// The configuration of the client, and the steps of the run.
#[derive(Debug, Arbitrary)]
struct Script<'a> {
    version: u8,
    lasts: bool,
    keep_alive: u8,
    /// The maximum numbers of messages of QoS 1 and 2 in flight: `receive_maximum` to the client, `window` from the
    /// client.
    receive_maximum: u8,
    window: u8,
    steps: Vec<Step<'a>>,
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// The server sends a packet.
    Server(Shape<'a>),
    /// The server sends a valid CONNACK, which accepts the connection.
    Accept {
        session_present: bool,
    },
    Publish {
        qos: u8,
        length: u8,
    },
    Subscribe,
    /// The application acknowledges the oldest message. `refuse` selects a reason code of rejection.
    Acknowledge {
        refuse: bool,
    },
    Wait {
        seconds: u8,
    },
    Written {
        bytes: u8,
    },
    Reconnect,
    Disconnect,
}

/// Runs the script that the input encodes.
///
/// # Panics
/// If the client sends a packet that is not permitted.
pub fn client(input: &[u8]) {
    if let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(input)) {
        let mut run = ClientRun::new(&script);
        for step in &script.steps {
            run.step(step);
        }
    }
}

/// The result of handling some bytes.
struct Handled {
    /// The number of bytes that the connection has not handled.
    waiting: usize,
    /// Set if the connection was accepted.
    accepted: bool,
    /// Set if the client gave up messages because they are larger than the server's Maximum Packet Size.
    gave_up: bool,
}

struct ClientRun {
    connection: Connection,
    connect: Connect,
    config: Config,
    lasts: bool,
    now: Instant,
    /// The packet identifiers of messages that the application has not acknowledged.
    open: VecDeque<PacketIdentifier>,
    /// The checker of the exchanges that the client sends.
    sent: Direction,
    /// The reader of the client's bytes.
    wire: PacketReader,
    /// The reader of the server's bytes. `None` once the server has sent bytes that `sent` cannot follow. From then on
    /// only the form of the client's packets is checked.
    server: Option<PacketReader>,
}

impl ClientRun {
    fn new(script: &Script<'_>) -> Self {
        use ProtocolVersion::{V3_1, V3_1_1, V5_0};
        let version = [V3_1, V3_1_1, V5_0][usize::from(script.version % 3)];
        let mut connect = Connect::new(version, "c");
        connect.clean_start = !script.lasts;
        connect.keep_alive = script.keep_alive.into();
        let config = Config {
            receive_maximum: u16::from(script.receive_maximum).max(1),
            maximum_in_flight: u16::from(script.window % 8) + 1,
            topic_alias_maximum: 2,
            topic_aliases: 2,
            ..Config::default()
        };
        let now = Instant::now();
        let session = script.lasts.then(Session::default);
        let connection =
            Connection::client(&connect, session, config.clone(), now).expect("short fields");
        Self {
            connection,
            connect,
            config,
            lasts: script.lasts,
            now,
            open: VecDeque::new(),
            sent: Direction::default(),
            wire: PacketReader::new(version.level()),
            server: Some(PacketReader::new(version.level())),
        }
    }

    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Server(shape) => {
                let bytes = shape.bytes(self.connect.protocol_version.level());
                self.server_sends(&bytes);
            }
            Step::Accept { session_present } => {
                let present = u8::from(*session_present);
                match self.connect.protocol_version {
                    ProtocolVersion::V5_0 => self.server_sends(&[0x20, 3, present, 0, 0]),
                    _ => self.server_sends(&[0x20, 2, present, 0]),
                }
            }
            Step::Publish { qos, length } => {
                let message = Message::new(
                    TopicName::new("t").expect("valid"),
                    vec![b'x'; usize::from(*length)],
                );
                let qos = QoS::from_value(qos % 3).expect("below 3");
                let _ = self
                    .connection
                    .publish(self.now, OutboundMessage::new(Arc::new(message), qos));
            }
            Step::Subscribe => {
                let subscription = Subscription {
                    topic_filter: TopicFilter::new("#").expect("valid"),
                    options: SubscriptionOptions::new(QoS::ExactlyOnce),
                };
                let properties = SubscribeProperties::default();
                let _ = self
                    .connection
                    .subscribe(self.now, vec![subscription], properties);
            }
            Step::Acknowledge { refuse } => {
                if let Some(packet_identifier) = self.open.pop_front() {
                    let code = if *refuse {
                        ReasonCode::QuotaExceeded
                    } else {
                        ReasonCode::Success
                    };
                    self.connection
                        .acknowledge(self.now, packet_identifier, code);
                }
            }
            Step::Wait { seconds } => {
                self.now += Duration::from_secs((*seconds).into());
                self.connection.handle_timeout(self.now);
                self.handle(&[]);
            }
            Step::Written { bytes } => self.write(usize::from(*bytes)),
            Step::Reconnect => self.reconnect(),
            Step::Disconnect => {
                self.connection
                    .disconnect(self.now, Disconnect::new(ReasonCode::Success));
            }
        }
    }

    fn server_sends(&mut self, bytes: &[u8]) {
        // All bytes of the client are written before the server's next bytes arrive, so that `sent` sees the packets in
        // order.
        self.write(usize::MAX);
        if self.connection.has_ended() {
            return;
        }
        let was_connected = self.connection.is_connected();
        let handled = self.handle(bytes);
        let is_connected = self.connection.is_connected();
        let (sent, window) = (&mut self.sent, self.config.maximum_in_flight);
        let version = self.connect.protocol_version;
        let lasts = self.lasts;
        if let Some(mut server) = self.server.take() {
            // The checker can only follow if it can parse the server's bytes and the client has handled all of them, or
            // has rejected all of them before CONNACK.
            let understood = server.read(bytes, |packet| {
                if packet.kind == 2 && is_connected && !was_connected {
                    let goes_on = match version {
                        ProtocolVersion::V3_1 => lasts,
                        _ => packet.session_present,
                    };
                    sent.begin(goes_on, window);
                }
                if is_connected {
                    sent.answered(&packet);
                }
                Ok(())
            });
            let took_nothing = !was_connected && !handled.accepted;
            let took_all = handled.waiting == 0 && !handled.gave_up;
            let follows = took_all && (is_connected || took_nothing);
            self.server = understood.ok().map(|()| server).filter(|_| follows);
        }
        self.write(usize::MAX);
    }

    fn handle(&mut self, bytes: &[u8]) -> Handled {
        let mut input = bytes;
        let (mut accepted, mut gave_up) = (false, false);
        while let Some(event) = self.connection.handle_input(self.now, &mut input) {
            match event {
                Event::Message(received) => {
                    self.open
                        .extend(received.publish().delivery.packet_identifier());
                }
                Event::Connected { .. } => accepted = true,
                // The client gives up messages that are too large for the new Maximum Packet Size. The checker does not
                // see that.
                Event::Delivered {
                    reason_code: ReasonCode::PacketTooLarge,
                    ..
                } => gave_up = true,
                _ => {}
            }
        }
        let waiting = input.len();
        Handled {
            waiting,
            accepted,
            gave_up,
        }
    }

    fn write(&mut self, count: usize) {
        let output = self.connection.output();
        let count = count.min(output.len());
        let bytes = output[..count].to_vec();
        self.connection.consume_output(self.now, count);
        let (sent, understood) = (&mut self.sent, self.server.is_some());
        self.wire
            .read(&bytes, |packet| {
                if understood {
                    sent.sends(&packet)
                } else {
                    Ok(())
                }
            })
            .unwrap_or_else(|violation| panic!("{violation}"));
    }

    fn reconnect(&mut self) {
        self.write(usize::MAX);
        let session = self.lasts.then(|| self.connection.take_session());
        self.open.clear();
        let config = self.config.clone();
        self.connection =
            Connection::client(&self.connect, session, config, self.now).expect("short fields");
        let level = self.connect.protocol_version.level();
        self.wire = PacketReader::new(level);
        // If the checker could not follow the last connection, it cannot follow the next one either: the state of the
        // exchanges is unknown.
        self.server = self.server.take().map(|_| PacketReader::new(level));
    }
}
