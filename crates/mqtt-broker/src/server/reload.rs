//! Reloads the configuration, and exchanges passwords and results with the thread that checks passwords.

use std::sync::Arc;
use std::time::Instant;

use mqtt_broker_core::{ConnectionId, EVENTS};
use mqtt_codec::ReasonCode;

use super::Server;
use super::listener_policy::{self, ListenerAuth};
use crate::auth::verifier::PasswordVerifier;

impl Server {
    /// Reads the configuration and its files again, and replaces limits, users, permissions and certificates. Open
    /// connections keep their TLS sessions. If a file cannot be used, everything stays unchanged: a mistake in a file
    /// must not leave the broker with a part of its configuration.
    pub(super) fn reload(&mut self) {
        log::info!(target: EVENTS, "Reloading config.");
        let Some(reader) = &mut self.reader else {
            return;
        };
        // All files are read before the first setting changes.
        let read = reader().and_then(|config| {
            let auth = listener_policy::reload(&config, &self.listeners);
            let (auth, transports) = auth.map_err(|error| match error.place(&config.places) {
                Some(place) => format!("{error} ({place})."),
                None => format!("{error}."),
            })?;
            Ok((config, auth, transports))
        });
        match read {
            Ok((config, auth, transports)) => {
                listener_policy::warn_of_exposed_files(&config, &self.listeners);
                self.broker.set_limits(config.limits);
                self.set_listener_auth(auth);
                // A user who was removed must not keep an open connection.
                self.broker.end_unadmitted(Instant::now());
                self.statistics_due = self.broker.statistics_interval().map(|_| Instant::now());
                for (bound, transport) in self.listeners.iter_mut().zip(transports) {
                    bound.listener.set_transport(transport);
                }
                log::info!(target: EVENTS, "Config reloaded.");
            }
            Err(error) => {
                log::error!(target: EVENTS, "Cannot reload the configuration, which is unchanged: {error}");
            }
        }
    }

    /// Passes the policies of the listeners to the broker, and keeps the passwords for the thread that checks them.
    pub(super) fn set_listener_auth(&mut self, auth: Vec<ListenerAuth>) {
        let (access, passwords) = auth.into_iter().map(ListenerAuth::split).unzip();
        self.broker.set_policies(access);
        self.passwords = passwords;
    }

    /// Passes the results of the thread to the broker, and the next password to the thread. The thread gets one
    /// password at a time; the others wait in the core, where the peer addresses take turns.
    pub(super) fn check_passwords(&mut self, now: Instant) {
        let next = |server: &mut Self| server.password_verifier.as_mut()?.poll(now);
        while let Some((id, result)) = next(self) {
            self.answer_checked(now, id, result);
        }
        while !self
            .password_verifier
            .as_ref()
            .is_some_and(PasswordVerifier::is_busy)
        {
            let Some((id, check)) = self.broker.poll_check() else {
                return;
            };
            log::debug!(target: EVENTS, "Checking the password of {}.", self.broker.peer(id));
            if self.password_verifier.is_none() {
                self.password_verifier = PasswordVerifier::start(Arc::clone(&self.waker)).ok();
            }
            // A reload may have removed the password file while the password waited. Then no user exists.
            let passwords = self.passwords.get(check.listener as usize);
            let passwords = passwords.cloned().flatten().unwrap_or_default();
            let taken = match &mut self.password_verifier {
                Some(password_verifier) => password_verifier.check(id, passwords, check),
                None => Err(ReasonCode::ServerBusy),
            };
            if let Err(reason_code) = taken {
                self.answer_checked(now, id, Err(reason_code));
            }
        }
    }

    /// Passes the result of a password check to the broker.
    fn answer_checked(&mut self, now: Instant, id: ConnectionId, result: Result<(), ReasonCode>) {
        self.broker.handle_checked(now, id, result);
        // Packets that the client sent after CONNECT have waited for the result.
        if let Some(index) = self.sockets.index_of(id) {
            self.read_again(index);
        }
    }
}
