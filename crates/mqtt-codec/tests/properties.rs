//! Property tests of the whole codec. A packet that is encoded and decoded is unchanged, at whatever positions its
//! bytes are cut. Any bytes are decoded into packets or into an error, without a panic.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use mqtt_codec::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Packet that owns its message, so that proptest can generate it.
#[derive(Debug, Clone)]
enum Owned {
    Publish(Delivery, Message, Option<TopicAlias>),
    Other(PacketRef<'static>),
}

impl Owned {
    fn packet(&self) -> PacketRef<'_> {
        match self {
            Self::Other(packet) => packet.clone(),
            Self::Publish(delivery, message, topic_alias) => {
                let mut publish = message.publish(*delivery);
                publish.properties.topic_alias = *topic_alias;
                PacketRef::Publish(publish)
            }
        }
    }
}

fn text() -> impl Strategy<Value = String> + Clone {
    "[a-z\u{80}-\u{FFFF} /]{0,8}"
}

fn binary() -> impl Strategy<Value = Bytes> + Clone {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn user_properties() -> impl Strategy<Value = Vec<UserProperty>> {
    vec(
        (text(), text()).prop_map(|(name, value)| UserProperty { name, value }),
        0..3,
    )
}

fn identifier() -> impl Strategy<Value = PacketIdentifier> {
    (1..=u16::MAX).prop_map(|value| PacketIdentifier::new(value).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3u8).prop_map(|value| QoS::from_value(value).unwrap())
}

fn topic_name() -> impl Strategy<Value = TopicName> {
    "[a-z/\u{80}-\u{FF}]{1,12}".prop_map(|name| TopicName::new(&name).unwrap())
}

fn topic_filter() -> impl Strategy<Value = TopicFilter> {
    "(\\$share/g/)?([a-z]{0,3}/|\\+/){0,3}(#|\\+|[a-z]{1,3})"
        .prop_map(|filter| TopicFilter::new(&filter).unwrap())
}

fn reason_code(packet_type: PacketType, sender: Role) -> impl Strategy<Value = ReasonCode> {
    let allowed: Vec<_> = ReasonCode::ALL
        .iter()
        .copied()
        .filter(|c| c.is_allowed(packet_type, sender))
        .collect();
    prop::sample::select(allowed)
}

fn message(version: ProtocolVersion) -> impl Strategy<Value = Message> {
    let properties = (
        option::of(any::<bool>()),
        option::of(any::<u32>()),
        option::of(text()),
        option::of(topic_name().prop_map(|name| name.to_string())),
        option::of(binary()),
        user_properties(),
    )
        .prop_map(
            |(format, expiry, content_type, response_topic, correlation, user)| {
                let mut all: Vec<_> = [
                    format.map(Property::PayloadFormatIndicator),
                    expiry.map(Property::MessageExpiryInterval),
                    content_type.as_deref().map(Property::ContentType),
                    response_topic.as_deref().map(Property::ResponseTopic),
                    correlation.as_deref().map(Property::CorrelationData),
                ]
                .into_iter()
                .flatten()
                .collect();
                // The position of each user property depends on the generated values, so that many orders are tested.
                let pairs = user
                    .iter()
                    .map(|pair| Property::User(&pair.name, &pair.value));
                for (index, pair) in pairs.enumerate() {
                    all.insert((index * 7 + user.len()) % (all.len() + 1), pair);
                }
                if expiry.is_some_and(|seconds| seconds % 2 == 0) {
                    all.reverse();
                }
                MessageProperties::new(all).unwrap()
            },
        );
    (topic_name(), binary(), any::<bool>(), properties).prop_map(
        move |(topic_name, payload, retain, properties)| {
            let some = version == ProtocolVersion::V5_0 && !properties.is_empty();
            Message {
                topic_name,
                payload,
                retain,
                properties: some.then(|| Box::new(properties)),
            }
        },
    )
}

fn publish(version: ProtocolVersion) -> impl Strategy<Value = Owned> {
    let alias = option::of((1..=u16::MAX).prop_map(|value| TopicAlias::new(value).unwrap()));
    (qos(), identifier(), any::<bool>(), message(version), alias).prop_map(
        move |(qos, packet_identifier, dup, message, alias)| {
            let delivery = match qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce {
                    packet_identifier,
                    dup,
                },
                QoS::ExactlyOnce => Delivery::ExactlyOnce {
                    packet_identifier,
                    dup,
                },
            };
            Owned::Publish(
                delivery,
                message,
                alias.filter(|_| version == ProtocolVersion::V5_0),
            )
        },
    )
}

fn ack(
    version: ProtocolVersion,
    packet_type: PacketType,
    make: fn(Ack) -> PacketRef<'static>,
) -> impl Strategy<Value = Owned> {
    let code = reason_code(packet_type, Role::Client);
    (identifier(), code, option::of(text()), user_properties()).prop_map(
        move |(packet_identifier, reason_code, reason_string, user_properties)| {
            let mut ack = Ack::new(packet_identifier, ReasonCode::Success);
            if version == ProtocolVersion::V5_0 {
                ack.reason_code = reason_code;
                ack.properties = AckProperties {
                    reason_string,
                    user_properties,
                };
            }
            Owned::Other(make(ack))
        },
    )
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Owned> {
    let subscription = (topic_filter(), qos(), any::<(bool, bool)>(), 0..3u8).prop_map(
        move |(topic_filter, qos, (no_local, retain_as_published), handling)| {
            let mut options = SubscriptionOptions::new(qos);
            if version == ProtocolVersion::V5_0 {
                options.no_local = no_local && topic_filter.share_name().is_none();
                options.retain_as_published = retain_as_published;
                options.retain_handling = [
                    RetainHandling::SendAtSubscribe,
                    RetainHandling::SendIfNew,
                    RetainHandling::DoNotSend,
                ][usize::from(handling)];
            }
            Subscription {
                topic_filter,
                options,
            }
        },
    );
    let number = option::of(
        (1..=MAXIMUM_REMAINING_LENGTH)
            .prop_map(|value| SubscriptionIdentifier::new(value).unwrap()),
    );
    (
        identifier(),
        vec(subscription, 1..4),
        number,
        user_properties(),
    )
        .prop_map(
            move |(packet_identifier, subscriptions, subscription_identifier, user_properties)| {
                let properties = match version {
                    ProtocolVersion::V5_0 => SubscribeProperties {
                        subscription_identifier,
                        user_properties,
                        order: Vec::new(),
                    },
                    _ => SubscribeProperties::default(),
                };
                Owned::Other(PacketRef::Subscribe(Subscribe {
                    packet_identifier,
                    subscriptions,
                    properties,
                }))
            },
        )
}

fn unsubscribe() -> impl Strategy<Value = Owned> {
    (identifier(), vec(topic_filter(), 1..4)).prop_map(|(packet_identifier, topic_filters)| {
        let properties = UnsubscribeProperties::default();
        Owned::Other(PacketRef::Unsubscribe(Unsubscribe {
            packet_identifier,
            topic_filters,
            properties,
        }))
    })
}

fn end(version: ProtocolVersion) -> impl Strategy<Value = Owned> {
    let code = reason_code(PacketType::Disconnect, Role::Client);
    (
        code,
        option::of(any::<u32>()),
        option::of(text()),
        user_properties(),
    )
        .prop_map(
            move |(reason_code, session_expiry_interval, reason_string, user_properties)| {
                let mut disconnect = Disconnect::new(ReasonCode::Success);
                if version == ProtocolVersion::V5_0 {
                    disconnect.reason_code = reason_code;
                    disconnect.properties = DisconnectProperties {
                        session_expiry_interval,
                        reason_string,
                        user_properties,
                        server_reference: None,
                        order: Vec::new(),
                    };
                }
                Owned::Other(PacketRef::Disconnect(Box::new(disconnect)))
            },
        )
}

/// Generates the packets that a client sends after CONNECT.
fn from_client(version: ProtocolVersion) -> impl Strategy<Value = Owned> {
    prop_oneof![
        4 => publish(version),
        1 => ack(version, PacketType::Puback, PacketRef::Puback),
        1 => ack(version, PacketType::Pubrec, PacketRef::Pubrec),
        1 => ack(version, PacketType::Pubrel, PacketRef::Pubrel),
        1 => ack(version, PacketType::Pubcomp, PacketRef::Pubcomp),
        1 => subscribe(version),
        1 => unsubscribe(),
        1 => end(version),
        1 => Just(Owned::Other(PacketRef::Pingreq)),
    ]
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Connect> {
    let will = (message(version), qos(), option::of(any::<u32>()));
    let credentials = (option::of(text()), option::of(binary()));
    let properties = (
        option::of(any::<u32>()),
        option::of(1..=u16::MAX),
        option::of(any::<u16>()),
        option::of(1..=u32::MAX),
        user_properties(),
    );
    (
        any::<(bool, bool, u16)>(),
        text(),
        option::of(will),
        credentials,
        properties,
    )
        .prop_map(
            move |(
                (is_bridge, clean_start, keep_alive),
                id,
                will,
                (user_name, password),
                properties,
            )| {
                let v5 = version == ProtocolVersion::V5_0;
                let (expiry, receive, alias, size, user_properties) = properties;
                Connect {
                    is_bridge,
                    clean_start,
                    keep_alive,
                    will: will.map(|(message, qos, delay)| Will {
                        message,
                        qos,
                        will_delay_interval: delay.filter(|_| v5),
                    }),
                    password: password.filter(|_| v5 || user_name.is_some()),
                    user_name,
                    properties: if v5 {
                        ConnectProperties {
                            session_expiry_interval: expiry,
                            receive_maximum: receive.and_then(NonZeroU16::new),
                            topic_alias_maximum: alias,
                            maximum_packet_size: size.and_then(NonZeroU32::new),
                            user_properties,
                            ..ConnectProperties::default()
                        }
                    } else {
                        ConnectProperties::default()
                    },
                    ..Connect::new(version, id)
                }
            },
        )
}

fn version() -> impl Strategy<Value = ProtocolVersion> {
    prop::sample::select(vec![
        ProtocolVersion::V3_1,
        ProtocolVersion::V3_1_1,
        ProtocolVersion::V5_0,
    ])
}

fn conversation() -> impl Strategy<Value = (Connect, Vec<Owned>)> {
    version().prop_flat_map(|version| (connect(version), vec(from_client(version), 0..8)))
}

fn encode(connect: &Connect, packets: &[Owned]) -> Vec<u8> {
    let version = connect.protocol_version;
    let mut bytes = Vec::new();
    let first = PacketRef::Connect(Box::new(connect.clone()));
    first
        .encode(version, MAXIMUM_PACKET_SIZE, &mut bytes)
        .unwrap();
    for packet in packets {
        packet
            .packet()
            .encode(version, MAXIMUM_PACKET_SIZE, &mut bytes)
            .unwrap();
    }
    bytes
}

/// Passes the bytes to the decoder in pieces, and keeps the bytes that the decoder has not consumed. Returns the
/// decoded packets.
fn feed(decoder: &mut Decoder, bytes: &[u8], cuts: &[usize]) -> Result<Vec<String>, DecodeError> {
    let mut buffer: Vec<u8> = Vec::new();
    let mut packets = Vec::new();
    let mut rest = bytes;
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (piece, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        buffer.extend_from_slice(piece);
        let mut input = &buffer[..];
        while let Some(packet) = decoder.decode(&mut input)? {
            packets.push(format!("{packet:?}"));
        }
        let taken = buffer.len() - input.len();
        buffer.drain(..taken);
    }
    assert!(rest.is_empty());
    Ok(packets)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn packets_survive_encoding_and_decoding((connect, packets) in conversation()) {
        let bytes = encode(&connect, &packets);
        let mut decoder = Decoder::server(MAXIMUM_PACKET_SIZE);
        let mut input = &bytes[..];
        let first = decoder.decode(&mut input).unwrap().unwrap();
        prop_assert_eq!(first, PacketRef::Connect(Box::new(connect)));
        for packet in &packets {
            prop_assert_eq!(decoder.decode(&mut input).unwrap().unwrap(), packet.packet());
        }
        prop_assert!(input.is_empty());
    }

    #[test]
    fn result_is_independent_of_the_split_of_the_input(
        (connect, packets) in conversation(),
        cuts in vec(0..30usize, 0..40),
    ) {
        let bytes = encode(&connect, &packets);
        let whole = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &[]).unwrap();
        let pieces = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &cuts).unwrap();
        let single = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &vec![1; bytes.len()]).unwrap();
        prop_assert_eq!(whole.len(), packets.len() + 1);
        prop_assert_eq!(&pieces, &whole);
        prop_assert_eq!(&single, &whole);
    }

    /// A changed byte may change the meaning of a packet or make it invalid. If the packet is decoded, encoding and
    /// decoding it again returns the same packet.
    #[test]
    fn corrupt_bytes_are_rejected_or_decode_to_one_packet(
        (connect, packets) in conversation(),
        position in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cuts in vec(0..30usize, 0..10),
    ) {
        let mut bytes = encode(&connect, &packets);
        let index = position.index(bytes.len());
        bytes[index] = value;
        let whole = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &[]);
        let pieces = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &cuts);
        prop_assert_eq!(whole, pieces);

        let mut decoder = Decoder::server(MAXIMUM_PACKET_SIZE);
        let mut input = &bytes[..];
        while let Ok(Some(packet)) = decoder.decode(&mut input) {
            let version = decoder.version().unwrap();
            let mut again = Vec::new();
            packet.encode(version, MAXIMUM_PACKET_SIZE, &mut again).unwrap();
            let mut second = match packet.packet_type() {
                PacketType::Connect => Decoder::server(MAXIMUM_PACKET_SIZE),
                _ => decoder.clone(),
            };
            let reread = second.decode(&mut &again[..]);
            prop_assert_eq!(reread, Ok(Some(packet)));
        }
    }

    #[test]
    fn any_bytes_decode_to_packets_or_an_error(
        version in version(),
        bytes in vec(any::<u8>(), 0..200),
        first in 0..16u8,
    ) {
        let mut bytes = bytes;
        bytes.insert(0, (first << 4) | (2 * u8::from(matches!(first, 6 | 8 | 10))));
        let _ = feed(&mut Decoder::client(version, MAXIMUM_PACKET_SIZE), &bytes, &[]);
        let _ = feed(&mut Decoder::server(MAXIMUM_PACKET_SIZE), &bytes, &[3]);
    }
}
