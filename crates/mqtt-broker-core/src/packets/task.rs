//! [`Task`]: a packet that is handled in several turns.

use std::vec::IntoIter;

use mqtt_codec::{
    Connect, PacketIdentifier, QoS, ReasonCode, Subscription, SubscriptionIdentifier, TopicFilter,
};

/// The rest of a packet that the broker has begun to handle. The broker finishes the task before it handles the next
/// packet of the connection, because packets take effect in their order.
pub(crate) enum Task {
    /// CONNECT of a session that must be stored, while the store is behind.
    Connect(Box<Connect>),
    /// SUBSCRIBE with filters that are left.
    Subscribe(SubscribeTask),
    /// UNSUBSCRIBE with filters that are left.
    Unsubscribe(UnsubscribeTask),
}

/// A SUBSCRIBE that the broker handles in one or more turns.
pub(crate) struct SubscribeTask {
    pub(crate) packet_identifier: PacketIdentifier,
    /// The Subscription Identifier, which applies to all subscriptions of the packet.
    pub(crate) identifier: Option<SubscriptionIdentifier>,
    /// The highest QoS that the listener grants.
    pub(crate) maximum_qos: QoS,
    /// The subscriptions that are not handled yet.
    pub(crate) left: IntoIter<Subscription>,
    /// The reason codes for SUBACK so far.
    pub(crate) reason_codes: Vec<ReasonCode>,
}

/// An UNSUBSCRIBE that the broker handles in one or more turns.
pub(crate) struct UnsubscribeTask {
    pub(crate) packet_identifier: PacketIdentifier,
    /// The topic filters that are not handled yet.
    pub(crate) left: IntoIter<TopicFilter>,
    /// The reason codes for UNSUBACK so far.
    pub(crate) reason_codes: Vec<ReasonCode>,
}
