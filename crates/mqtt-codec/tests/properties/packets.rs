//! Strategies for all packets of a client.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use mqtt_codec::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Packet that owns its message, so that proptest can generate it.
#[derive(Debug, Clone)]
pub(crate) enum Owned {
    Publish(Delivery, Message, Option<TopicAlias>),
    Other(PacketRef<'static>),
}

impl Owned {
    pub(crate) fn packet(&self) -> PacketRef<'_> {
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

pub(crate) fn version() -> impl Strategy<Value = ProtocolVersion> {
    prop::sample::select(vec![
        ProtocolVersion::V3_1,
        ProtocolVersion::V3_1_1,
        ProtocolVersion::V5_0,
    ])
}

pub(crate) fn conversation() -> impl Strategy<Value = (Connect, Vec<Owned>)> {
    version().prop_flat_map(|version| (connect(version), vec(from_client(version), 0..8)))
}
