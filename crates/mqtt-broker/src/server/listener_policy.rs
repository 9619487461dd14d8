//! Makes the listener policies from the configuration: reads password files and ACL files, at the start and at each
//! reload. Also logs which clients can connect, and checks a configuration without serving.

use super::error::ServerError;
use super::listener::{BoundListener, check_listener, listener_transport};
use crate::auth::acl_file::read_acl_file;
use crate::auth::error::AccessError;
use crate::auth::password_file::Passwords;
use crate::config::model::BrokerConfig;
use crate::config::model::ListenerConfig;
use mqtt_broker_core::{EVENTS, ListenerPolicy};
use mqtt_transport::ListenerTransport;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The policy of one listener, for the core, and its passwords, for the thread that checks them.
#[derive(Debug)]
pub(crate) struct ListenerAuth {
    policy: ListenerPolicy,
    passwords: Option<Arc<Passwords>>,
}

impl ListenerAuth {
    /// Reads the files of a listener. `listener` is `None` for a listener without a configuration, at the loopback
    /// addresses: it admits anonymous clients unless `allow_anonymous false` is set.
    fn read(config: &BrokerConfig, listener: Option<&ListenerConfig>) -> Result<Self, AccessError> {
        let security = config.security_of(listener);
        let passwords = security.password_file.as_deref().map(Passwords::read);
        let passwords = passwords.transpose()?.map(Arc::new);
        let list = security.acl_file.as_deref().map(read_acl_file);
        // A listener of the configuration admits anonymous clients only if `allow_anonymous true` is set, as in
        // mosquitto 2.
        let everyone = ListenerPolicy::everyone();
        let policy = ListenerPolicy {
            allow_anonymous: security
                .allow_anonymous
                .unwrap_or_else(|| listener.is_none()),
            identity: listener.and_then(|listener| listener.identity),
            users: passwords
                .as_ref()
                .map(|passwords| Arc::new(passwords.user_names())),
            list: list.transpose()?.map(Arc::new),
            user_name_is_identifier: listener
                .is_some_and(|listener| listener.user_name_is_identifier),
            allow_empty_identifier: security.allow_empty_identifier.unwrap_or(true),
            identifier_prefix: security
                .auto_id_prefix
                .unwrap_or(everyone.identifier_prefix),
            mount_point: listener
                .and_then(|listener| listener.mount_point.as_deref().map(Arc::from)),
            limits: config.limits_of(listener),
        };
        Ok(Self { policy, passwords })
    }

    /// Returns the policy for the core, and the passwords for the thread that checks them.
    pub(crate) fn split(self) -> (ListenerPolicy, Option<Arc<Passwords>>) {
        (self.policy, self.passwords)
    }
}

/// Returns the policies of the open listeners, in their order.
///
/// # Errors
/// Returns an error if a password file or an ACL file cannot be used.
pub(crate) fn of_listeners(
    config: &BrokerConfig,
    listeners: &[BoundListener],
) -> Result<Vec<ListenerAuth>, AccessError> {
    let listeners = listeners.iter();
    listeners
        .map(|bound| ListenerAuth::read(config, bound.config.as_ref()))
        .collect()
}

/// Checks the addresses of the listeners, and reads certificates, password files and ACL files. Opens no port and
/// writes to no file, so that the check can run while a broker serves with the same configuration.
///
/// # Errors
/// Returns an error if a listener could not be opened, or a file cannot be read or is invalid.
pub fn check(config: &BrokerConfig) -> Result<(), ServerError> {
    for (index, listener) in config.listeners.iter().enumerate() {
        let place = || config.places.of_listener(index);
        check_listener(listener).map_err(|error| error.at(place()))?;
    }
    // `None` stands for the settings outside of all listeners, whose files are checked too.
    let listeners = config.listeners.iter().map(Some);
    for own in listeners.chain([None]) {
        ListenerAuth::read(config, own)?;
        own.map(listener_transport).transpose()?;
    }
    Ok(())
}

/// Returns the policies and transports of the open listeners, according to a configuration that was read again. A
/// reload does not open or close listeners, and does not change their protocol. A listener that is missing in the new
/// configuration keeps its old settings.
///
/// # Errors
/// Returns an error if a file cannot be used.
pub(crate) fn reload(
    config: &BrokerConfig,
    listeners: &[BoundListener],
) -> Result<(Vec<ListenerAuth>, Vec<ListenerTransport>), ServerError> {
    let mut auth = Vec::new();
    let mut transports = Vec::new();
    for bound in listeners {
        let own = bound.config.as_ref().map(|before| {
            let is_same = |after: &&ListenerConfig| after.is_same_place(before);
            let mut same = config.listeners.iter().filter(is_same);
            let now = same.nth(bound.rank).unwrap_or(before);
            ListenerConfig {
                // A reload replaces the files of TLS, but turns TLS neither on nor off: clients expect the same
                // protocol at the same port.
                websocket: before.websocket,
                identity: before.identity,
                tls: before
                    .tls
                    .as_ref()
                    .and(now.tls.as_ref())
                    .or(before.tls.as_ref())
                    .cloned(),
                ..now.clone()
            }
        });
        let own = own.as_ref();
        auth.push(ListenerAuth::read(config, own)?);
        transports.push(own.map_or_else(|| Ok(ListenerTransport::default()), listener_transport)?);
    }
    Ok((auth, transports))
}

/// Logs a warning for each password file that every user of this machine can read, because passwords can be guessed
/// from their hashes.
pub(crate) fn warn_of_exposed_files(config: &BrokerConfig, listeners: &[BoundListener]) {
    let file_of = |bound: &BoundListener| {
        let security = config.security_of(bound.config.as_ref());
        security.password_file
    };
    // The set removes duplicates, because several listeners may have the same file.
    let files: BTreeSet<_> = listeners.iter().filter_map(file_of).collect();
    for path in files.iter().filter(|path| is_exposed(path)) {
        log::warn!(
            target: EVENTS,
            "Password file {} can be read by every user of this machine (chmod o-r changes that).",
            path.display()
        );
    }
}

/// Returns `true` if every user of this machine can read the file.
#[cfg(unix)]
fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let others_read =
        |data: std::fs::Metadata| data.is_file() && data.permissions().mode() & 0o004 != 0;
    std::fs::metadata(path).is_ok_and(others_read)
}

/// Returns `false`, because other systems have other permissions.
#[cfg(not(unix))]
fn is_exposed(_: &Path) -> bool {
    false
}

/// Logs the addresses of the listeners, and which clients can connect.
pub(crate) fn announce(listeners: &[BoundListener], auth: &[ListenerAuth]) {
    for listener in listeners {
        log::info!(target: EVENTS, "Listening on {}.", listener.name);
    }
    let is_local_only = listeners.iter().all(|listener| listener.config.is_none());
    let access = auth.iter().map(|auth| &auth.policy);
    if is_local_only && access.clone().any(is_for_everyone) {
        log::info!(
            target: EVENTS,
            "Starting in local only mode: only programs on this machine can connect, without password. To let \
             others in, start with -c and a file with the lines 'listener 1883' and 'allow_anonymous true'."
        );
        return;
    }
    let of_listener = listeners.iter().map(BoundListener::is_local).zip(access);
    log::info!(target: EVENTS, "{}", audience(of_listener));
}

/// Returns `true` if the listener admits clients without a password and without a certificate.
fn is_for_everyone(access: &ListenerPolicy) -> bool {
    access.allow_anonymous && access.identity.is_none()
}

/// Returns the text of the log that describes which clients can connect. The `bool` of a listener is `true` if only
/// programs on this machine can reach the listener.
fn audience<'a>(listeners: impl Iterator<Item = (bool, &'a ListenerPolicy)>) -> String {
    let (open, closed): (Vec<_>, Vec<_>) =
        listeners.partition(|(_, access)| is_for_everyone(access));
    // If one listener admits everyone who can reach this machine, the other listeners do not matter.
    if open.iter().any(|(is_local, _)| !is_local) {
        return "Open to everyone who can reach this machine, without password.".to_owned();
    }
    let by_password = closed.iter().any(|(_, access)| access.users.is_some());
    let by_certificate = closed.iter().any(|(_, access)| access.identity.is_some());
    let others = match (by_password, by_certificate) {
        (true, true) => "Open to users of the password file, and to clients with a certificate.",
        (true, false) => "Open to users of the password file.",
        (false, true) => "Open to clients with a certificate.",
        (false, false) if open.is_empty() => {
            "Nobody can connect: clients without a user name are not allowed, and there is no list of users. The line \
             'allow_anonymous true' lets everyone in; 'rbroker passwd -c FILE USER' and the line 'password_file FILE' \
             let users in."
        }
        (false, false) => "",
    };
    let sentences = if open.is_empty() {
        ["", others]
    } else {
        [
            "Every program on this machine can use the broker without a password.",
            others,
        ]
    };
    sentences.join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_listeners_reachable_from_other_hosts_are_open_to_everyone() {
        let everyone = ListenerPolicy::everyone();
        let users = ListenerPolicy {
            allow_anonymous: false,
            users: Some(Arc::default()),
            ..ListenerPolicy::everyone()
        };
        let program = "Every program on this machine can use the broker without a password.";
        for (listeners, expected) in [
            (vec![(true, &everyone)], program.to_owned()),
            (
                vec![(true, &everyone), (true, &everyone)],
                program.to_owned(),
            ),
            (
                vec![(true, &everyone), (false, &users)],
                format!("{program} Open to users of the password file."),
            ),
            (
                vec![(true, &everyone), (false, &everyone)],
                "Open to everyone who can reach this machine, without password.".to_owned(),
            ),
            (
                vec![(true, &users)],
                "Open to users of the password file.".to_owned(),
            ),
        ] {
            assert_eq!(audience(listeners.into_iter()), expected);
        }
        let nobody = ListenerPolicy {
            allow_anonymous: false,
            ..ListenerPolicy::everyone()
        };
        let text = audience([(false, &nobody)].into_iter());
        assert!(text.starts_with("Nobody can connect: "), "{text}");
    }
}
