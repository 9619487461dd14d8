//! The settings of a broker that serves, and the configuration that they become. `options.rs` fills the settings.

use std::path::PathBuf;

use mqtt_broker::BrokerConfig;

use super::log::Loudness;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::output::trace::Form;

/// The port of a broker whose configuration has no listener, and the port of the broker that `rbroker status` asks by
/// default.
pub(crate) const DEFAULT_PORT: u16 = 1883;

/// The settings of a broker that serves.
#[derive(Debug, Default)]
pub(crate) struct ServeSettings {
    pub(super) config_file: Option<PathBuf>,
    pub(super) ports: Vec<u16>,
    pub(super) verbose: bool,
    pub(super) quiet: bool,
    pub(super) daemon: bool,
    pub(super) test_config: bool,
    pub(super) trace: Option<Form>,
    pub(super) key_log: Option<PathBuf>,
}

impl ServeSettings {
    /// Returns the settings of a service, which has a configuration file and no other options.
    #[cfg(windows)]
    pub(super) fn of_file(file: &std::path::Path) -> Self {
        Self {
            config_file: Some(file.to_owned()),
            ..Self::default()
        }
    }

    /// Returns the ports to listen on if the configuration has no listener.
    pub(super) fn ports(&self) -> &[u16] {
        if self.ports.is_empty() {
            &[DEFAULT_PORT]
        } else {
            &self.ports
        }
    }

    /// Reads the configuration, and applies the options and the environment to it.
    ///
    /// # Errors
    /// If the configuration cannot be read or is invalid.
    pub(super) fn config(&self) -> Result<BrokerConfig, Failure> {
        let mut config = match &self.config_file {
            Some(path) => BrokerConfig::read(path)
                .map_err(|error| Failure::new(Status::Configuration, error))?,
            None => BrokerConfig::new(),
        };
        if let Some(path) = &self.key_log {
            let listeners = config.listeners.iter_mut();
            let mut with_tls = listeners
                .filter_map(|listener| listener.tls.as_mut())
                .peekable();
            // Without TLS the key log would stay empty, and the user would not learn why.
            if with_tls.peek().is_none() {
                let text = "--tls-keylog needs a listener with TLS (certfile and keyfile).";
                return Err(Failure::usage(text).with_status(Status::Configuration));
            }
            with_tls.for_each(|tls| tls.key_log = Some(path.clone()));
        }
        // mosquitto reads this variable, and its container images set it.
        if let Some(folder) = std::env::var_os("MOSQUITTO_PERSISTENCE_LOCATION") {
            config.persistence_location = folder.into();
        }
        Ok(config)
    }

    /// Returns the verbosity of the log. `-q` overrides `-v`.
    pub(super) fn loudness(&self) -> Loudness {
        match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet,
            (_, true) => Loudness::Verbose,
            _ => Loudness::Configured,
        }
    }
}
