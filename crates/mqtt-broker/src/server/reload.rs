//! Reloads the configuration.

use super::event_loop::Server;
use super::listener_policy;
use mqtt_broker_core::EVENTS;
use std::time::Instant;

impl Server {
    /// Reads the configuration and its files again, and replaces limits, users, permissions and certificates. Open
    /// connections keep their TLS sessions. If a file cannot be used, everything stays unchanged: a mistake in a file
    /// must not leave the broker with a part of its configuration.
    pub(super) fn reload(&mut self) {
        log::info!(target: EVENTS, "Reloading config.");
        let Some(reader) = &mut self.reader else {
            debug_assert!(false, "a reload was requested without a reader");
            return;
        };
        // All files are read before the first setting changes.
        let read = reader().and_then(|config| {
            let auth = listener_policy::reload(&config, &self.acceptor.listeners);
            let (auth, transports) = auth.map_err(|error| match error.place(&config.places) {
                Some(place) => format!("{error} ({place})."),
                None => format!("{error}."),
            })?;
            Ok((config, auth, transports))
        });
        match read {
            Ok((config, auth, transports)) => {
                listener_policy::warn_of_exposed_files(&config, &self.acceptor.listeners);
                self.broker.set_limits(config.limits);
                self.passwords.replace(&mut self.broker, auth);
                // A user who was removed must not keep an open connection.
                self.broker.end_unadmitted(Instant::now());
                self.reports.begin_statistics(&self.broker);
                for (bound, transport) in self.acceptor.listeners.iter_mut().zip(transports) {
                    bound.listener.set_transport(transport);
                }
                log::info!(target: EVENTS, "Config reloaded.");
            }
            Err(error) => {
                log::error!(target: EVENTS, "Cannot reload the configuration, which is unchanged: {error}");
            }
        }
    }
}
