//! [`PasswordChecks`]: exchanges passwords and results between the core and the thread that checks passwords.

use super::listener_policy::ListenerAuth;
use super::sockets::state::Sockets;
use crate::auth::password_file::Passwords;
use crate::auth::verifier::PasswordVerifier;
use mio::Waker;
use mqtt_broker_core::{Broker, ConnectionId, EVENTS};
use mqtt_codec::ReasonCode;
use std::sync::Arc;
use std::time::Instant;

/// The passwords of the listeners, and the thread that checks them.
#[derive(Debug)]
pub(crate) struct PasswordChecks {
    /// The passwords of each listener, by its number. `None` for a listener without a password file.
    passwords: Vec<Option<Arc<Passwords>>>,
    /// The thread that checks passwords. `None` until a client sends the first password.
    verifier: Option<PasswordVerifier>,
    /// Wakes the loop when the thread has checked a password.
    waker: Arc<Waker>,
}

impl PasswordChecks {
    /// Returns a value without passwords. The thread wakes `waker` when it has checked a password.
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            passwords: Vec::new(),
            verifier: None,
            waker,
        }
    }

    /// Passes the policies of the listeners to the broker, and keeps the passwords for the thread that checks them.
    pub(crate) fn replace(&mut self, broker: &mut Broker, auth: Vec<ListenerAuth>) {
        let (access, passwords) = auth.into_iter().map(ListenerAuth::split).unzip();
        broker.set_policies(access);
        self.passwords = passwords;
    }

    /// Passes the results of the thread to the broker, and the next password to the thread. The thread gets one
    /// password at a time. The others wait in the core, which chooses the next one round robin by peer address.
    pub(crate) fn exchange(&mut self, broker: &mut Broker, sockets: &mut Sockets, now: Instant) {
        while let Some((id, result)) = self
            .verifier
            .as_mut()
            .and_then(|verifier| verifier.poll(now))
        {
            answer_checked(broker, sockets, now, id, result);
        }
        while !self
            .verifier
            .as_ref()
            .is_some_and(PasswordVerifier::is_busy)
        {
            let Some((id, check)) = broker.poll_check() else {
                return; // no password waits
            };
            log::debug!(target: EVENTS, "Checking the password of {}.", broker.peer(id));
            // The thread starts with the first password, so that a broker without users has no such thread.
            if self.verifier.is_none() {
                self.verifier = PasswordVerifier::start(Arc::clone(&self.waker)).ok();
            }
            // A reload may have removed the password file while the password waited. Then no user exists.
            let passwords = self.passwords.get(check.listener as usize);
            let passwords = passwords.cloned().flatten().unwrap_or_default();
            let taken = match &mut self.verifier {
                Some(verifier) => verifier.check(id, passwords, check),
                None => Err(ReasonCode::ServerBusy),
            };
            if let Err(reason_code) = taken {
                answer_checked(broker, sockets, now, id, Err(reason_code));
            }
        }
    }

    /// Returns the time at which `exchange` must be called for a delayed result.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let verifier = self.verifier.as_ref();
        verifier.and_then(PasswordVerifier::poll_timeout)
    }
}

/// Passes the result of a password check to the broker.
fn answer_checked(
    broker: &mut Broker,
    sockets: &mut Sockets,
    now: Instant,
    id: ConnectionId,
    result: Result<(), ReasonCode>,
) {
    broker.handle_checked(now, id, result);
    // Packets that the client sent after CONNECT have waited for the result.
    sockets.read_connection_again(id);
}
