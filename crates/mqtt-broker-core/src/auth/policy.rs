//! [`ListenerPolicy`]: decides which clients a listener admits, under which user name, and with which permissions.
//!
//! The process builds the policies from the configuration. A policy does not verify passwords. If a CONNECT needs that,
//! its password waits in `check_queue.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use mqtt_codec::{Connect, ReasonCode};

use crate::auth::acl::{AccessList, AclAction};
use crate::limits::ListenerLimits;

/// The policy of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerPolicy {
    /// Set if clients without a user name may connect.
    pub allow_anonymous: bool,
    /// The part of the client's certificate that is its user name. `None` if the user name of CONNECT is used.
    pub identity: Option<IdentitySource>,
    /// The user names of the password file. `None` if the listener has no password file. Then a client with a user name
    /// is admitted without a check if `allow_anonymous` is set, and rejected otherwise.
    pub users: Option<Arc<BTreeSet<String>>>,
    /// The access control list. `None` allows everything.
    pub list: Option<Arc<AccessList>>,
    /// Set if the user name becomes the client identifier.
    pub user_name_is_identifier: bool,
    /// Set if the broker assigns client identifiers to clients that have none.
    pub allow_empty_identifier: bool,
    /// Prefix of the client identifiers that the broker assigns.
    pub identifier_prefix: String,
    /// The mount point: the prefix that the broker adds to all topics of the clients of this listener.
    pub mount_point: Option<Arc<str>>,
    /// Limits of the clients.
    pub limits: ListenerLimits,
}

/// The part of a client's certificate that is its user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySource {
    /// The common name.
    CommonName,
    /// The whole subject.
    Subject,
}

/// The policies of all listeners.
#[derive(Debug)]
pub(crate) struct ListenerPolicies {
    /// The policies, in the order of the listeners' numbers.
    pub(crate) listeners: Vec<ListenerPolicy>,
    /// The policy of every listener, if `listeners` is empty.
    everyone: ListenerPolicy,
    /// The policy of a listener whose number is not in `listeners`.
    removed: ListenerPolicy,
}

impl Default for ListenerPolicies {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            everyone: ListenerPolicy::everyone(),
            removed: ListenerPolicy::removed(),
        }
    }
}

impl ListenerPolicies {
    /// Returns the policy of a listener. If no policies were set, as in tests of the core, every client may do
    /// everything.
    pub(crate) fn of(&self, listener: u32) -> &ListenerPolicy {
        let missing = if self.listeners.is_empty() {
            &self.everyone
        } else {
            &self.removed
        };
        self.listeners.get(listener as usize).unwrap_or(missing)
    }

    /// Returns `true` if the ACL of the principal's listener allows this action on the topic.
    pub(crate) fn allow(&self, principal: &Principal, topic_name: &str, right: AclAction) -> bool {
        let Some(list) = &self.of(principal.listener).list else {
            return true; // without an ACL, everything is allowed
        };
        let user_name = principal.user_name.as_deref();
        list.allows(user_name, &principal.client_identifier, topic_name, right)
    }
}

/// The names and the listener that decide the permissions of a client. A retained message has the principal of its
/// publisher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The user name, if there is one.
    pub user_name: Option<String>,
    /// The client identifier.
    pub client_identifier: Arc<str>,
    /// The number of the listener at which the client has last connected. The policy of this listener applies.
    pub listener: u32,
}

/// The decision about a CONNECT.
#[derive(Debug)]
pub(crate) enum AuthDecision {
    /// The client is admitted.
    Admitted,
    /// The client is admitted if the check of its password succeeds.
    Check,
    /// The CONNECT is rejected with this reason code.
    Refused(ReasonCode),
}

/// The default prefix of assigned client identifiers, as in mosquitto.
const IDENTIFIER_PREFIX: &str = "auto-";

impl ListenerPolicy {
    /// Returns a policy that admits every client, with or without a user name, and allows everything.
    pub fn everyone() -> Self {
        Self {
            allow_anonymous: true,
            identity: None,
            users: None,
            list: None,
            user_name_is_identifier: false,
            allow_empty_identifier: true,
            identifier_prefix: IDENTIFIER_PREFIX.to_owned(),
            mount_point: None,
            limits: ListenerLimits::default(),
        }
    }

    /// Returns the policy of a listener that does not exist any more. It admits no client. Its ACL is empty, so that
    /// stored wills of its clients are not published. With `check_retain_source`, retained messages of its clients are
    /// not sent either.
    pub(crate) fn removed() -> Self {
        Self {
            allow_anonymous: false,
            list: Some(Arc::default()),
            ..Self::everyone()
        }
    }

    /// Returns `true` if a principal that was admitted before is still admitted after a reload. A changed password does
    /// not matter here: it is checked at the next CONNECT.
    pub(crate) fn still_admits(&self, principal: &Principal) -> bool {
        match (&principal.user_name, &self.users) {
            // The TLS handshake has verified the certificate, and a reload does not verify it again.
            _ if self.identity.is_some() => true,
            (Some(user_name), Some(users)) => users.contains(user_name),
            _ => self.allow_anonymous,
        }
    }

    /// Decides about a CONNECT. If the policy takes user names from certificates, this method replaces the user name of
    /// CONNECT by `identity`, the name in the client's certificate.
    pub(crate) fn admit(&self, connect: &mut Connect, identity: Option<&str>) -> AuthDecision {
        if self.identity.is_some() {
            // The name is used and stored like a user name of CONNECT, so it must be a valid MQTT string.
            let is_name = |name: &&str| {
                !name.is_empty() && name.len() <= usize::from(u16::MAX) && !name.contains('\0')
            };
            let Some(name) = identity.filter(is_name) else {
                return AuthDecision::Refused(ReasonCode::BadUserNameOrPassword);
            };
            connect.user_name = Some(name.to_owned());
            return AuthDecision::Admitted;
        }
        match (&connect.user_name, &self.users) {
            // An empty password is rejected even if the password file has the hash of an empty password. The rejection
            // is immediate, because it gives a client that guesses passwords no information.
            (Some(_), Some(_))
                if connect
                    .password
                    .as_ref()
                    .is_none_or(|password| password.is_empty()) =>
            {
                AuthDecision::Refused(ReasonCode::NotAuthorized)
            }
            (Some(_), Some(_)) => AuthDecision::Check,
            _ if self.allow_anonymous => AuthDecision::Admitted,
            // The listener has no password file to verify the user name, or CONNECT has no user name.
            _ => AuthDecision::Refused(ReasonCode::NotAuthorized),
        }
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::ProtocolVersion;

    use super::*;

    #[test]
    fn account_with_an_empty_password_cannot_log_in() {
        let access = ListenerPolicy {
            users: Some(Arc::new(BTreeSet::from(["me".to_owned()]))),
            ..ListenerPolicy::everyone()
        };
        let admit = |password: Option<&'static str>| {
            let mut connect = Connect::new(ProtocolVersion::V5_0, "c");
            connect.user_name = Some("me".into());
            connect.password = password.map(Into::into);
            access.admit(&mut connect, None)
        };
        for password in [None, Some("")] {
            let admission = admit(password);
            assert!(matches!(
                admission,
                AuthDecision::Refused(ReasonCode::NotAuthorized)
            ));
        }
        assert!(matches!(admit(Some("x")), AuthDecision::Check));
    }
}
