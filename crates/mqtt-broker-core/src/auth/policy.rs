//! [`ListenerPolicy`]: which clients a listener admits, as which principal, and with which permissions.

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
    /// The part of the client's certificate that is its user name; `None` if CONNECT has the user name.
    pub identity: Option<IdentitySource>,
    /// The names of the users, if user names must have passwords. The caller of the core knows the passwords.
    pub users: Option<Arc<BTreeSet<String>>>,
    /// The permissions of the clients; `None` allows everything.
    pub list: Option<Arc<AccessList>>,
    /// Set if the user name becomes the client identifier.
    pub user_name_is_identifier: bool,
    /// Set if the broker chooses identifiers for clients without one.
    pub allow_empty_identifier: bool,
    /// Prefix of the identifiers that the broker chooses.
    pub identifier_prefix: String,
    /// Prefix of all topics of the clients.
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

/// The policies of all listeners, in their order.
#[derive(Debug)]
pub(crate) struct ListenerPolicies {
    pub(crate) listeners: Vec<ListenerPolicy>,
    everyone: ListenerPolicy,
    gone: ListenerPolicy,
}

impl Default for ListenerPolicies {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            everyone: ListenerPolicy::everyone(),
            gone: ListenerPolicy::gone(),
        }
    }
}

impl ListenerPolicies {
    /// Returns the policy of a listener. Without any policy every client may do everything, as in tests of the core.
    pub(crate) fn of(&self, listener: u32) -> &ListenerPolicy {
        let missing = match self.listeners.is_empty() {
            true => &self.everyone,
            false => &self.gone,
        };
        self.listeners.get(listener as usize).unwrap_or(missing)
    }

    /// Returns `true` if the principal may do this with the topic.
    pub(crate) fn allow(&self, principal: &Principal, topic_name: &str, right: AclAction) -> bool {
        let Some(list) = &self.of(principal.listener).list else {
            return true;
        };
        let user_name = principal.user_name.as_deref();
        list.allows(user_name, &principal.client_identifier, topic_name, right)
    }
}

/// A client whose permissions are checked, or that has published a retained message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The user name, if there is one.
    pub user_name: Option<String>,
    /// The client identifier.
    pub client_identifier: Arc<str>,
    /// The number of the listener where the client has connected. The policy of this listener applies.
    pub listener: u32,
}

/// The decision about a CONNECT.
#[derive(Debug)]
pub(crate) enum AuthDecision {
    Admitted,
    /// The client is admitted if its password is right.
    Check,
    Refused(ReasonCode),
}

/// Prefix of the identifiers that mosquitto assigns.
const IDENTIFIER_PREFIX: &str = "auto-";

impl ListenerPolicy {
    /// Returns a policy that admits every client and allows everything.
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

    /// Returns the policy of a listener that does not exist any more: stored messages and wills of its clients have no
    /// permissions.
    pub(crate) fn gone() -> Self {
        Self {
            allow_anonymous: false,
            list: Some(Arc::default()),
            ..Self::everyone()
        }
    }

    /// Returns `true` if a principal that was admitted would still be admitted after a reload. A changed password is
    /// checked at the next CONNECT.
    pub(crate) fn knows(&self, principal: &Principal) -> bool {
        match (&principal.user_name, &self.users) {
            _ if self.identity.is_some() => true,
            (Some(user_name), Some(users)) => users.contains(user_name),
            _ => self.allow_anonymous,
        }
    }

    /// Decides about a CONNECT, and replaces its user name by `identity`, the name in the client's certificate, if the
    /// policy asks for that.
    pub(crate) fn admit(&self, connect: &mut Connect, identity: Option<&str>) -> AuthDecision {
        if self.identity.is_some() {
            // CONNECT could not carry other names, and the session is stored under a name of CONNECT.
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
            // No user logs in with an empty password, even if a line of the file is the hash of an empty password. The
            // client is refused immediately: there is no guess to slow down.
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
            // Without a password file no user name can be verified.
            _ => AuthDecision::Refused(ReasonCode::NotAuthorized),
        }
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::ProtocolVersion;

    use super::*;

    #[test]
    fn an_account_with_an_empty_password_does_not_log_in() {
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
