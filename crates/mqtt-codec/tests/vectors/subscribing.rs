//! Tests of SUBSCRIBE, UNSUBSCRIBE and their answers.

use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::vector::{from_client, from_server, identifier};

#[test]
fn encodes_and_decodes_subscribe_and_unsubscribe() {
    let topic_filter = TopicFilter::new("a/#").unwrap();
    let subscribe = |options, properties| {
        PacketRef::Subscribe(Subscribe {
            packet_identifier: identifier(1),
            subscriptions: vec![Subscription {
                topic_filter: topic_filter.clone(),
                options,
            }],
            properties,
        })
    };
    from_client(
        V3_1_1,
        "82 08 00 01 00 03 61 2F 23 01",
        &subscribe(
            SubscriptionOptions::new(QoS::AtLeastOnce),
            SubscribeProperties::default(),
        ),
    );
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
    };
    let properties = SubscribeProperties {
        subscription_identifier: SubscriptionIdentifier::new(200),
        ..SubscribeProperties::default()
    };
    from_client(
        V5_0,
        "82 0C 00 01 03 0B C8 01 00 03 61 2F 23 1E",
        &subscribe(options, properties),
    );
    let unsubscribe = PacketRef::Unsubscribe(Unsubscribe {
        packet_identifier: identifier(2),
        topic_filters: vec![topic_filter.clone()],
        properties: UnsubscribeProperties::default(),
    });
    from_client(V3_1_1, "A2 07 00 02 00 03 61 2F 23", &unsubscribe);
    from_client(V5_0, "A2 08 00 02 00 00 03 61 2F 23", &unsubscribe);
}

#[test]
fn encodes_and_decodes_suback_and_unsuback() {
    let suback = |code| {
        PacketRef::Suback(Suback::new(
            identifier(1),
            vec![ReasonCode::GrantedQoS1, code],
        ))
    };
    from_server(
        V3_1_1,
        "90 04 00 01 01 80",
        &suback(ReasonCode::UnspecifiedError),
    );
    from_server(
        V5_0,
        "90 05 00 01 00 01 8F",
        &suback(ReasonCode::TopicFilterInvalid),
    );
    let unsuback = |codes| PacketRef::Unsuback(Suback::new(identifier(2), codes));
    from_server(V3_1_1, "B0 02 00 02", &unsuback(vec![]));
    from_server(
        V5_0,
        "B0 04 00 02 00 11",
        &unsuback(vec![ReasonCode::NoSubscriptionExisted]),
    );
}

#[test]
fn repeated_topic_filters_of_a_packet_share_their_memory() {
    let body = b"\x00\x01\x00\x01a\x00\x00\x01a\x01\x00\x01b\x00";
    let packet = [&[0x82, body.len() as u8], &body[..]].concat();
    let mut decoder = Decoder::server(u32::MAX);
    let connect = Connect::new(V3_1_1, "c");
    let mut bytes = Vec::new();
    PacketRef::Connect(Box::new(connect))
        .encode(V3_1_1, u32::MAX, &mut bytes)
        .unwrap();
    decoder.decode(&mut &bytes[..]).unwrap();
    let Some(PacketRef::Subscribe(subscribe)) = decoder.decode(&mut &packet[..]).unwrap() else {
        panic!("it is a SUBSCRIBE");
    };
    let [one, again, other] = &subscribe.subscriptions[..] else {
        panic!("three filters: {:?}", subscribe.subscriptions);
    };
    assert_eq!((&*one.topic_filter, &*other.topic_filter), ("a", "b"));
    assert_eq!(one.topic_filter.as_ptr(), again.topic_filter.as_ptr());
    assert_eq!(again.options.qos, QoS::AtLeastOnce);
}
