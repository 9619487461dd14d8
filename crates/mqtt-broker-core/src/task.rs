//! [`Task`]: a packet that is handled in several turns.

use std::vec::IntoIter;

use mqtt_codec::{
    Connect, PacketIdentifier, QoS, ReasonCode, Subscription, SubscriptionIdentifier, TopicFilter,
};

/// The rest of a packet that the broker has begun to handle. The broker finishes the task before it handles the next
/// packet of the connection, because packets take effect in their order.
pub(crate) enum Task {
    /// A CONNECT that changes the store, while too many mutations wait for a commit.
    Connect(Box<Connect>),
    /// SUBSCRIBE or UNSUBSCRIBE with topic filters that are left.
    Filters(FiltersTask),
}

/// A SUBSCRIBE or UNSUBSCRIBE that the broker handles in one or more turns.
pub(crate) struct FiltersTask {
    pub(crate) packet_identifier: PacketIdentifier,
    /// The topic filters that are not handled yet.
    pub(crate) left: LeftFilters,
    /// The reason codes for SUBACK or UNSUBACK so far.
    pub(crate) reason_codes: Vec<ReasonCode>,
}

/// The topic filters of a packet that are not handled yet.
pub(crate) enum LeftFilters {
    Subscribe(SubscribeTerms, IntoIter<Subscription>),
    Unsubscribe(IntoIter<TopicFilter>),
}

/// The terms that apply to all subscriptions of a SUBSCRIBE.
#[derive(Clone, Copy)]
pub(crate) struct SubscribeTerms {
    pub(crate) identifier: Option<SubscriptionIdentifier>,
    /// The highest QoS that the listener grants.
    pub(crate) maximum_qos: QoS,
}
