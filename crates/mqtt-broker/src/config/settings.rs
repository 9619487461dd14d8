//! [`Settings`]: the configuration while directives are applied to it. Rules that concern several directives are
//! checked after the last directive.
//!
//! Directives above the first `listener`, and those below a `port`, belong to the default listener. As in mosquitto,
//! this listener is opened only if one of its directives requires it.

use mqtt_broker_core::ListenerLimits;
use mqtt_transport::TlsServerOptions;

use crate::config::model::{BrokerConfig, ListenerConfig, SecurityConfig};
use crate::config::places::Place;

/// The configuration to which directives are applied, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) config: BrokerConfig,
    /// The default listener, to which `port` and `bind_address` belong.
    pub(crate) default_listener: ListenerConfig,
    /// Set if a `port` directive was applied.
    has_port: bool,
    /// Set while directives belong to the last `listener`, and not to the default listener.
    is_below_listener: bool,
    /// The place of the directive that was applied last.
    last_place: Place,
}

impl Settings {
    /// Adds a listener, to which the next directives belong.
    pub(crate) fn add_listener(&mut self, listener: ListenerConfig) {
        self.config.listeners.push(listener);
        self.is_below_listener = true;
    }

    /// Sets the port of the default listener, to which the next directives belong.
    pub(crate) fn set_port(&mut self, port: u16) {
        self.default_listener.port = port;
        self.has_port = true;
        self.is_below_listener = false;
    }

    /// Returns the TLS settings of the listener to which the line belongs.
    pub(crate) fn tls(&mut self) -> &mut TlsServerOptions {
        self.listener().tls.get_or_insert_default()
    }

    /// Returns the listener to which the line belongs.
    pub(crate) fn listener(&mut self) -> &mut ListenerConfig {
        match self.config.listeners.last_mut() {
            Some(listener) if self.is_below_listener => listener,
            _ => &mut self.default_listener,
        }
    }

    /// Returns the security settings to which the line belongs: those of the listener above it with
    /// `per_listener_settings`, otherwise those of all listeners.
    pub(crate) fn security(&mut self) -> &mut SecurityConfig {
        let config = &mut self.config;
        match config.listeners.last_mut() {
            Some(listener) if config.per_listener && self.is_below_listener => {
                &mut listener.security
            }
            // With `per_listener_settings` these settings belong to the default listener. `open_default_listener` moves
            // them there after the last line.
            _ => &mut config.security,
        }
    }

    /// Returns the limits to which the line belongs: those of the `listener` or `port` above it, or those of all
    /// listeners.
    pub(crate) fn listener_limits(&mut self) -> &mut ListenerLimits {
        if self.is_below_listener || self.has_port {
            &mut self.listener().limits
        } else {
            &mut self.config.listener_limits
        }
    }

    /// Adds a warning with the place of the directive.
    pub(crate) fn warn(&mut self, place: &Place, text: &str) {
        self.config.warnings.push(format!("{text} ({place})"));
    }

    /// Records the place of a directive that was applied, so that the place of a `listener` directive belongs to the
    /// listener that it has opened.
    pub(crate) fn note_place(&mut self, name: &'static str, value: &str, place: Place) {
        self.last_place = place.clone();
        let listener = self.config.listeners.len().checked_sub(1);
        // `bind_address` belongs to the default listener, even below a `listener`.
        let listener = listener.filter(|_| self.is_below_listener && name != "bind_address");
        self.config.places.add(name, value, listener, place);
    }

    /// Checks the rules that concern several directives, and returns the configuration.
    ///
    /// # Errors
    /// Returns the place of the directive that needs another one, and the reason.
    pub(crate) fn finish(mut self) -> Result<BrokerConfig, (Place, String)> {
        // The checks come before the default listener is moved, because they find directives by the index of the
        // listener.
        self.ignore_versions_without_certificates();
        self.check()?;
        self.open_default_listener();
        Ok(self.config)
    }

    /// Drops the TLS settings of listeners whose only directive of TLS is `tls_version`. As in mosquitto, this
    /// directive alone does not turn TLS on.
    fn ignore_versions_without_certificates(&mut self) {
        let listeners = self.config.listeners.iter_mut();
        for listener in listeners.chain([&mut self.default_listener]) {
            listener.tls = listener.tls.take().filter(|tls| {
                let without_version = TlsServerOptions {
                    version: None,
                    ..tls.clone()
                };
                without_version != TlsServerOptions::default()
            });
        }
    }

    /// Adds the default listener to the listeners, if one of its directives requires it.
    fn open_default_listener(&mut self) {
        let config = &mut self.config;
        let mut listener = std::mem::take(&mut self.default_listener);
        let is_only_one = config.listeners.is_empty();
        let of_all = &config.listener_limits;
        let is_limited = of_all.maximum_connections.is_some() || of_all.maximum_qos.is_some();
        let is_asked_for = self.has_port
            || listener.host.is_some()
            || listener.only_ipv4.is_some()
            || listener.websocket
            || listener.tls.is_some()
            || listener.identity.is_some()
            || listener.user_name_is_identifier
            // If the configuration has other listeners, these limits apply to them and need no default listener.
            || is_only_one && is_limited;
        if !is_asked_for {
            return;
        }
        if !self.has_port {
            listener.port = DEFAULT_PORT;
        }
        if config.per_listener {
            let own = std::mem::take(&mut listener.security);
            listener.security = own.or(&config.security);
        }
        // The default listener is always the first one, wherever its directives are. Stored sessions refer to a
        // listener by its number, so the order must be fixed.
        config.listeners.insert(0, listener);
        config.places.put_default_listener_first();
    }

    /// Checks the rules that concern several directives, after the last line.
    ///
    /// # Errors
    /// Returns the place of the directive that needs another one, and the reason.
    fn check(&self) -> Result<(), (Place, String)> {
        let listeners = self.config.listeners.iter().enumerate();
        let listeners = listeners.map(|(index, listener)| (Some(index), listener));
        for (index, listener) in listeners.chain([(None, &self.default_listener)]) {
            let error = |names: &[&str], text: &dyn Fn(&str) -> String| {
                let first = self.config.places.first_of(index, names);
                let (name, place) = first.unwrap_or_else(|| ("listener", self.last_place.clone()));
                (place, text(name))
            };
            let tls = listener.tls.as_ref();
            let is_half = |tls: &TlsServerOptions| {
                tls.certificate.as_os_str().is_empty() || tls.key.as_os_str().is_empty()
            };
            if tls.is_some_and(is_half) {
                let needs_both = "A listener with TLS needs both 'certfile' and 'keyfile'.";
                return Err(error(TLS_DIRECTIVES, &|name| match name {
                    "certfile" => format!("{needs_both} 'keyfile' is missing."),
                    "keyfile" => format!("{needs_both} 'certfile' is missing."),
                    name => format!("{needs_both} '{name}' has no effect without them."),
                }));
            }
            // Without authorities the server cannot verify a certificate, and so cannot take a user name from it.
            let asks = |tls: &TlsServerOptions| tls.ca_file.is_some() || tls.ca_path.is_some();
            if listener.identity.is_some() && !tls.is_some_and(asks) {
                return Err(error(IDENTITY_DIRECTIVES, &|name| {
                    format!("'{name}' needs 'cafile' or 'capath' for the same listener.")
                }));
            }
        }
        Ok(())
    }
}

/// The directives that turn TLS on. An error names the first of them that the listener has. `tls_version` is not in
/// this list, because it does not turn TLS on.
const TLS_DIRECTIVES: &[&str] = &[
    "certfile",
    "keyfile",
    "cafile",
    "capath",
    "crlfile",
    "require_certificate",
    "ciphers",
    "dhparamfile",
];

/// The directives that take the user name from the client's certificate.
const IDENTITY_DIRECTIVES: &[&str] = &["use_identity_as_username", "use_subject_as_username"];

/// The port of the default listener without a `port` directive.
const DEFAULT_PORT: u16 = 1883;
