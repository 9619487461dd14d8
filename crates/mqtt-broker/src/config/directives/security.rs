//! The directives of authentication and permissions.

use std::path::PathBuf;

use super::definition::{Definition, text, word};
use crate::config::model::SecurityConfig;
use crate::config::settings::Settings;

/// A directive of authentication or permissions.
#[derive(Debug)]
pub(crate) enum SecurityDirective {
    PerListener(bool),
    AllowAnonymous(bool),
    ListenerAllowAnonymous(bool),
    PasswordFile(PathBuf),
    AclFile(PathBuf),
    AllowEmptyIdentifier(bool),
    AutoIdPrefix(String),
    ListenerAutoIdPrefix(String),
}

use SecurityDirective as D;

pub(crate) const SECURITY: &[Definition<D>] = &[
    word("per_listener_settings", |l| l.boolean().map(D::PerListener)),
    word("allow_anonymous", |l| l.boolean().map(D::AllowAnonymous)),
    word("listener_allow_anonymous", |l| {
        l.boolean().map(D::ListenerAllowAnonymous)
    }),
    text("password_file", |l| Ok(D::PasswordFile(l.rest.into()))),
    text("acl_file", |l| Ok(D::AclFile(l.rest.into()))),
    word("allow_zero_length_clientid", |l| {
        l.boolean().map(D::AllowEmptyIdentifier)
    }),
    text("auto_id_prefix", |l| Ok(D::AutoIdPrefix(l.rest.to_owned()))),
    text("listener_auto_id_prefix", |l| {
        Ok(D::ListenerAutoIdPrefix(l.rest.to_owned()))
    }),
];

impl SecurityDirective {
    /// Applies the directive to the settings of the listener to which it belongs, or of all listeners.
    ///
    /// # Errors
    /// Returns the reason if `per_listener_settings true` comes after other directives about security.
    pub(crate) fn apply(self, settings: &mut Settings) -> Result<(), String> {
        match self {
            Self::PerListener(per_listener) => {
                // The directives above were added to the settings of all listeners, but would now belong to one
                // listener.
                if settings.config.security != SecurityConfig::default() && per_listener {
                    return Err(
                        "'per_listener_settings' must stand above all directives about security."
                            .to_owned(),
                    );
                }
                settings.config.per_listener = per_listener;
            }
            Self::AllowAnonymous(is_on) => settings.security().allow_anonymous = Some(is_on),
            Self::ListenerAllowAnonymous(is_on) => {
                settings.listener().security.allow_anonymous = Some(is_on);
            }
            Self::PasswordFile(path) => settings.security().password_file = Some(path),
            Self::AclFile(path) => settings.security().acl_file = Some(path),
            Self::AllowEmptyIdentifier(is_on) => {
                settings.security().allow_empty_identifier = Some(is_on);
            }
            Self::AutoIdPrefix(prefix) => settings.security().auto_id_prefix = Some(prefix),
            Self::ListenerAutoIdPrefix(prefix) => {
                settings.listener().security.auto_id_prefix = Some(prefix);
            }
        }
        Ok(())
    }
}
