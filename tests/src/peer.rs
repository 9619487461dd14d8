//! A client or a server that sends and reads MQTT packets at little cost, for programs that put load on a broker. A
//! `Peer` acknowledges all messages, unless a test makes it withhold acknowledgements.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use mqtt_codec::*;
use socket2::{Domain, Socket, Type};

/// The maximum time that a [`Peer`] waits for input or for room to write, unless [`Peer::set_timeout`] changes it.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(10);

/// Selects the messages that a [`Peer`] acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// Acknowledges all messages.
    All,
    /// Acknowledges all messages except the first one.
    AllButFirst,
    /// Acknowledges no message.
    Nothing,
}

/// An end of a connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    version: ProtocolVersion,
    decoder: Decoder,
    input: Vec<u8>,
    /// Packets that [`Peer::flush`] sends in one piece.
    pub output: Vec<u8>,
    acknowledge: Acknowledge,
    sent: u64,
    is_closed: bool,
    /// Set if `input` may contain packets that no call of `read` has returned yet.
    has_unread: bool,
}

impl Peer {
    /// Creates the end of a connection that exists already.
    pub fn new(stream: TcpStream, version: ProtocolVersion, decoder: Decoder) -> Self {
        stream.set_nodelay(true).expect("it can be set");
        let peer = Self {
            stream,
            version,
            decoder,
            input: Vec::new(),
            output: Vec::new(),
            acknowledge: Acknowledge::All,
            sent: 0,
            is_closed: false,
            has_unread: false,
        };
        peer.set_timeout(PEER_TIMEOUT);
        peer.stream
            .set_write_timeout(Some(PEER_TIMEOUT))
            .expect("it can be set");
        peer
    }

    /// Connects a client of 3.1.1 with a clean session.
    pub fn connect(address: SocketAddr, name: &str) -> Self {
        Self::open(address, name, true)
    }

    /// Connects a client of 3.1.1.
    pub fn open(address: SocketAddr, name: &str, clean_start: bool) -> Self {
        let mut connect = Connect::new(ProtocolVersion::V3_1_1, name);
        connect.clean_start = clean_start;
        Self::try_open(address, connect).expect("the broker accepts the client")
    }

    /// Connects a client with this CONNECT.
    ///
    /// # Errors
    /// If the connection fails or the broker does not accept the client in time.
    pub fn try_open(address: SocketAddr, connect: Connect) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PEER_TIMEOUT)?;
        Self::accepted(stream, connect)
    }

    /// Connects a client with this CONNECT from this local address.
    ///
    /// # Errors
    /// If the connection fails or the broker does not accept the client in time.
    pub fn try_open_from(from: IpAddr, address: SocketAddr, connect: Connect) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&address.into(), PEER_TIMEOUT)?;
        Self::accepted(socket.into(), connect)
    }

    fn accepted(stream: TcpStream, connect: Connect) -> io::Result<Self> {
        let version = connect.protocol_version;
        let mut peer = Self::new(stream, version, Decoder::client(version, u32::MAX));
        peer.push(&PacketRef::Connect(Box::new(connect)));
        peer.flush();
        // Messages of a resumed session may arrive together with CONNACK. The first call of `read` returns them.
        let code = loop {
            if !peer.fill() {
                return Err(io::Error::other("the broker does not answer CONNECT"));
            }
            let mut rest = &peer.input[..];
            let packet = peer.decoder.decode(&mut rest).expect("packets");
            let Some(packet) = packet else { continue };
            let code = match packet {
                PacketRef::Connack(connack) => Some(connack.reason_code),
                _ => None,
            };
            let used = peer.input.len() - rest.len();
            peer.input.drain(..used);
            peer.has_unread = !peer.input.is_empty();
            break code;
        };
        match code {
            Some(ReasonCode::Success) => Ok(peer),
            code => Err(io::Error::other(format!("CONNACK with {code:?}"))),
        }
    }

    /// Sets the maximum time that `read` waits for input.
    pub fn set_timeout(&self, timeout: Duration) {
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        self.stream
            .set_read_timeout(timeout)
            .expect("it can be set");
    }

    /// Returns `true` if the other end has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Selects the messages that are acknowledged from now on.
    pub fn acknowledge(&mut self, acknowledge: Acknowledge) {
        self.acknowledge = acknowledge;
    }

    /// Returns the number of bytes that this end has written.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns another handle of the connection.
    ///
    /// # Errors
    /// If the system has no free file descriptor.
    pub fn stream(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Subscribes to one topic filter and waits for the SUBACK.
    pub fn subscribe(&mut self, topic_filter: &str, qos: QoS) {
        self.subscribe_all([topic_filter.to_owned()], qos);
    }

    /// Subscribes to many topic filters with one SUBSCRIBE and waits for the SUBACK.
    pub fn subscribe_all(&mut self, topic_filters: impl IntoIterator<Item = String>, qos: QoS) {
        self.push(&subscribe(topic_filters, qos));
        self.flush();
        self.read(&mut |_| {});
    }

    /// Appends a packet to `output`.
    pub fn push(&mut self, packet: &PacketRef<'_>) {
        packet
            .encode(self.version, u32::MAX, &mut self.output)
            .expect("it fits");
    }

    /// Writes `output`. Returns `false` if the connection is lost or the other end did not read in time.
    pub fn flush(&mut self) -> bool {
        let mut rest = &self.output[..];
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count @ 1..) => {
                    self.sent += count as u64;
                    rest = &rest[count..];
                }
                // `read` notices the end of the connection.
                _ => break,
            }
        }
        let is_complete = rest.is_empty();
        self.output.clear();
        is_complete
    }

    /// Reads once, acknowledges messages, and passes each packet to `show`. Returns `false` if no bytes arrived before
    /// the timeout or the connection has ended.
    pub fn read(&mut self, show: &mut impl FnMut(&PacketRef<'_>)) -> bool {
        let goes_on = std::mem::take(&mut self.has_unread) || self.fill();
        let mut rest = &self.input[..];
        let mut answers = Vec::new();
        while let Some(packet) = self.decoder.decode(&mut rest).expect("packets") {
            match (&packet, self.acknowledge) {
                (PacketRef::Publish(_), Acknowledge::Nothing) => {}
                (PacketRef::Publish(publish), Acknowledge::AllButFirst)
                    if publish.delivery.packet_identifier().is_some() =>
                {
                    self.acknowledge = Acknowledge::All;
                }
                _ => answer(&packet, self.version, &mut answers),
            }
            show(&packet);
        }
        let used = self.input.len() - rest.len();
        self.input.drain(..used);
        self.output.extend(answers);
        self.flush();
        goes_on
    }

    /// Reads once from the socket. Returns `false` if no bytes arrived before the timeout or the connection has ended.
    fn fill(&mut self) -> bool {
        let filled = self.input.len();
        self.input.resize(filled + 256 * 1024, 0);
        let count = match self.stream.read(&mut self.input[filled..]) {
            Ok(count) => {
                self.is_closed |= count == 0;
                count
            }
            Err(error) => {
                let is_timeout =
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                self.is_closed |= !is_timeout;
                0
            }
        };
        self.input.truncate(filled + count);
        count > 0
    }
}

/// Returns a SUBSCRIBE for these topic filters.
pub fn subscribe(topic_filters: impl IntoIterator<Item = String>, qos: QoS) -> PacketRef<'static> {
    let subscription = |topic_filter: String| Subscription {
        topic_filter: TopicFilter::new(&topic_filter).expect("a topic filter"),
        options: SubscriptionOptions::new(qos),
    };
    PacketRef::Subscribe(Subscribe {
        packet_identifier: PacketIdentifier::FIRST,
        subscriptions: topic_filters.into_iter().map(subscription).collect(),
        properties: SubscribeProperties::default(),
    })
}

/// Appends the answer that the standard requires for a packet, if it requires one.
fn answer(packet: &PacketRef<'_>, version: ProtocolVersion, out: &mut Vec<u8>) {
    let ack = |identifier| Ack::new(identifier, ReasonCode::Success);
    let answer = match packet {
        PacketRef::Connect(_) => {
            out.extend([0x20, 2, 0, 0]);
            return;
        }
        PacketRef::Subscribe(subscribe) => PacketRef::Suback(Suback {
            packet_identifier: subscribe.packet_identifier,
            reason_codes: vec![ReasonCode::GrantedQoS2],
            properties: AckProperties::default(),
        }),
        PacketRef::Publish(publish) => match publish.delivery {
            Delivery::AtMostOnce => return,
            Delivery::AtLeastOnce {
                packet_identifier, ..
            } => PacketRef::Puback(ack(packet_identifier)),
            Delivery::ExactlyOnce {
                packet_identifier, ..
            } => PacketRef::Pubrec(ack(packet_identifier)),
        },
        PacketRef::Pubrec(received) => PacketRef::Pubrel(ack(received.packet_identifier)),
        PacketRef::Pubrel(released) => PacketRef::Pubcomp(ack(released.packet_identifier)),
        _ => return,
    };
    answer.encode(version, u32::MAX, out).expect("it fits");
}
