//! The permissions of clients, and their mount points. Inside the broker, a topic name has the mount point of the
//! publisher in front. A client with a mount point sends and receives topic names without it.

use std::sync::Arc;

use mqtt_codec::{Message, TopicName};

use crate::auth::acl::AclAction;
use crate::auth::policy::{ListenerPolicies, Principal};
use crate::auth::state::Auth;
use crate::keys::ClientKey;
use crate::sessions::state::Sessions;

/// Returns the mount point of the listener at which the client has last connected.
pub(crate) fn mount_point<'a>(
    auth: &'a Auth,
    sessions: &Sessions,
    key: ClientKey,
) -> Option<&'a str> {
    let listener = sessions.clients.get(key)?.principal.listener;
    auth.policy(listener).mount_point.as_deref()
}

/// Returns `true` if the ACL allows the client this action on the topic.
pub(crate) fn is_allowed(
    auth: &Auth,
    sessions: &Sessions,
    key: ClientKey,
    topic_name: &str,
    right: AclAction,
) -> bool {
    let client = sessions.clients.get(key);
    client.is_some_and(|client| auth.policies.allow(&client.principal, topic_name, right))
}

/// Returns `true` if the principal may receive this message now. The topic name of `message` must be without the mount
/// point, and the ACL is checked with the mount point.
pub(crate) fn may_receive(
    policies: &ListenerPolicies,
    principal: &Principal,
    message: &Message,
) -> bool {
    match policies.of(principal.listener).mount_point.as_deref() {
        // This check is made for each delivery, so no topic name is built if the listener has no mount point.
        None => policies.allow(principal, &message.topic_name, AclAction::Read),
        Some(mount_point) => {
            let topic_name = format!("{mount_point}{}", message.topic_name);
            policies.allow(principal, &topic_name, AclAction::Read)
        }
    }
}

/// Returns the topic name without the client's mount point, or `None` if the client must not see the topic.
pub(crate) fn visible_topic<'a>(
    auth: &Auth,
    sessions: &Sessions,
    key: ClientKey,
    topic_name: &'a str,
) -> Option<&'a str> {
    behind_mount_point(topic_name, mount_point(auth, sessions, key))
}

/// Returns the message without the mount point in its topic name, or `None` if a client with this mount point must not
/// see the message.
pub(crate) fn without_mount_point(
    message: Arc<Message>,
    mount_point: Option<&str>,
) -> Option<Arc<Message>> {
    let visible = behind_mount_point(&message.topic_name, mount_point)?;
    // Without a mount point all clients share the message.
    if visible.len() == message.topic_name.len() {
        return Some(message);
    }
    let topic_name = TopicName::new(visible).ok()?;
    Some(Arc::new(Message {
        topic_name,
        ..Message::clone(&message)
    }))
}

/// Returns the topic name without the mount point. Returns `None` if the topic name does not begin with the mount
/// point, or is equal to it.
///
/// A client with the mount point `ten1/` that subscribes to `#` has the filter `ten1/#`, which also matches the topics
/// `ten1` and `ten1/`. The result is `None` for both of them: without the mount point, no character is left, and a
/// topic name must have at least one [MQTT-4.7.3-1].
pub(crate) fn behind_mount_point<'a>(
    topic_name: &'a str,
    mount_point: Option<&str>,
) -> Option<&'a str> {
    match mount_point {
        None => Some(topic_name),
        Some(mount_point) => topic_name
            .strip_prefix(mount_point)
            .filter(|rest| !rest.is_empty()),
    }
}
