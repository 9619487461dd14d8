//! What the loop does about access: the configuration read again, and passwords that are checked beside it.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::ReasonCode;

use super::Server;
use crate::checker::Checker;
use crate::{ConnectionId, EVENTS, rules};

impl Server {
    /// Limits, users and rights are as they are read now, and new connections see new certificates; what
    /// cannot be read leaves everything as it was.
    pub(super) fn reload(&mut self) {
        log::info!(target: EVENTS, "Reloading config.");
        let Some(reader) = &mut self.reader else {
            return;
        };
        let read = reader().and_then(|settings| {
            let rules = rules::reload(&settings, &self.listeners);
            let (access, transports) = rules.map_err(|error| error.to_string())?;
            Ok((settings, access, transports))
        });
        match read {
            Ok((settings, access, transports)) => {
                rules::warn_of_exposed_files(&settings, &self.listeners);
                self.broker.set_limits(settings.limits);
                self.broker.set_access(access);
                self.broker.end_unadmitted(Instant::now());
                self.statistics_due = self.broker.statistics_interval().map(|_| Instant::now());
                for (bound, transport) in self.listeners.iter_mut().zip(transports) {
                    bound.listener.set_transport(transport);
                }
                log::info!(target: EVENTS, "Config reloaded.");
            }
            Err(error) => {
                log::error!(target: EVENTS, "Everything stays as it was: {error}");
            }
        }
    }

    /// Passes the answers of the thread that checks passwords to the broker, and the next password to the thread.
    pub(super) fn check_passwords(&mut self, now: Instant) {
        let next = |server: &mut Self| server.checker.as_mut()?.poll(now);
        while let Some((id, result)) = next(self) {
            self.answer_checked(now, id, result);
        }
        while !self.checker.as_ref().is_some_and(Checker::is_busy) {
            let Some((id, check)) = self.broker.poll_check() else {
                return;
            };
            log::debug!(target: EVENTS, "Checking the password of {}.", self.broker.peer(id));
            if self.checker.is_none() {
                self.checker = Checker::start(Arc::clone(&self.waker)).ok();
            }
            let taken = match &mut self.checker {
                Some(checker) => checker.check(id, check),
                None => Err(ReasonCode::ServerBusy),
            };
            if let Err(reason_code) = taken {
                self.answer_checked(now, id, Err(reason_code));
            }
        }
    }

    fn answer_checked(&mut self, now: Instant, id: ConnectionId, result: Result<(), ReasonCode>) {
        self.broker.handle_checked(now, id, result);
        // What came behind CONNECT has waited.
        if let Some(index) = self.peers.index_of(id) {
            self.read_again(index);
        }
    }
}
