//! Tests of PUBLISH and its acknowledgements.

use mqtt_codec::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

use crate::vector::{from_client, from_server, identifier, message};

#[test]
fn encodes_and_decodes_publish_of_3_1_1() {
    let plain = message("a", "xy");
    from_client(
        V3_1_1,
        "30 05 00 01 61 78 79",
        &PacketRef::Publish(plain.publish(Delivery::AtMostOnce)),
    );
    let retained = Message {
        retain: true,
        ..message("a/b", "")
    };
    let delivery = Delivery::AtLeastOnce {
        packet_identifier: identifier(10),
        dup: true,
    };
    from_client(
        V3_1_1,
        "3B 07 00 03 61 2F 62 00 0A",
        &PacketRef::Publish(retained.publish(delivery)),
    );
}

#[test]
fn encodes_and_decodes_publish_of_5_0() {
    let plain = message("a", "xy");
    from_client(
        V5_0,
        "30 06 00 01 61 00 78 79",
        &PacketRef::Publish(plain.publish(Delivery::AtMostOnce)),
    );
    let mut with_property = plain.clone();
    let properties = MessageProperties::new([Property::User("k", "v")]);
    with_property.properties = Some(Box::new(properties.unwrap()));
    let delivery = Delivery::ExactlyOnce {
        packet_identifier: identifier(10),
        dup: false,
    };
    let mut publish = with_property.publish(delivery);
    publish.properties.topic_alias = TopicAlias::new(1);
    from_client(
        V5_0,
        "34 12 00 01 61 00 0A 0A 23 00 01 26 00 01 6B 00 01 76 78 79",
        &PacketRef::Publish(publish),
    );
    let mut alias = plain.publish(Delivery::AtMostOnce);
    alias.topic_name = "";
    alias.properties.topic_alias = TopicAlias::new(1);
    from_client(
        V5_0,
        "30 08 00 00 03 23 00 01 78 79",
        &PacketRef::Publish(alias),
    );
    let identifiers = [1, 200].map(|value| SubscriptionIdentifier::new(value).unwrap());
    let empty = message("a", "");
    let mut publish = empty.publish(Delivery::AtMostOnce);
    publish.properties.subscription_identifiers = SubscriptionIdentifiers::new(&identifiers);
    from_server(
        V5_0,
        "30 09 00 01 61 05 0B 01 0B C8 01",
        &PacketRef::Publish(publish),
    );
}

#[test]
fn encodes_and_decodes_acknowledgements() {
    let ack = |code| Ack::new(identifier(10), code);
    for version in [V3_1, V3_1_1, V5_0] {
        from_client(
            version,
            "40 02 00 0A",
            &PacketRef::Puback(ack(ReasonCode::Success)),
        );
        from_server(
            version,
            "50 02 00 0A",
            &PacketRef::Pubrec(ack(ReasonCode::Success)),
        );
        from_client(
            version,
            "62 02 00 0A",
            &PacketRef::Pubrel(ack(ReasonCode::Success)),
        );
        from_server(
            version,
            "70 02 00 0A",
            &PacketRef::Pubcomp(ack(ReasonCode::Success)),
        );
    }
    from_server(
        V5_0,
        "40 03 00 0A 10",
        &PacketRef::Puback(ack(ReasonCode::NoMatchingSubscribers)),
    );
    let properties = AckProperties {
        reason_string: Some("no".into()),
        ..AckProperties::default()
    };
    from_server(
        V5_0,
        "50 09 00 0A 87 05 1F 00 02 6E 6F",
        &PacketRef::Pubrec(Ack {
            properties,
            ..ack(ReasonCode::NotAuthorized)
        }),
    );
    from_client(
        V5_0,
        "70 03 00 0A 92",
        &PacketRef::Pubcomp(ack(ReasonCode::PacketIdentifierNotFound)),
    );
}
