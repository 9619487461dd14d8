//! [`Attempts`] decides about attempts to connect: the waits between them, and when the client gives up.

use std::time::{Duration, Instant};

use mqtt_codec::ReasonCode;
use mqtt_session::CloseReason;

use crate::backoff::Backoff;
use crate::error::ClientError;
use crate::options::{Options, Reconnect};
use crate::servers;

/// Minimum time for an attempt that starts when the time limit has nearly passed.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

/// State from which the client decides about its next attempt to connect.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    backoff: Backoff,
    /// Start of the first attempt, or the time at which the connection was lost.
    lost_since: Option<Instant>,
    /// Set if one of the servers tried since the last wait may accept the client after the next wait.
    round_may_pass: bool,
    /// Set when the client has opened a stream to a server.
    was_reached: bool,
    /// Set when a server has accepted a connection.
    was_connected: bool,
    /// Set when a server has answered a SUBSCRIBE or UNSUBSCRIBE.
    was_answered: bool,
}

impl Attempts {
    /// Records that an attempt starts.
    pub(super) fn begin(&mut self, now: Instant) {
        self.lost_since.get_or_insert(now);
    }

    /// Records that a stream to a server is open.
    pub(super) fn handle_reached(&mut self) {
        self.was_reached = true;
    }

    /// Records that a server has accepted the connection.
    pub(super) fn handle_connected(&mut self) {
        self.round_may_pass = false;
        if !std::mem::replace(&mut self.was_connected, true) {
            self.lost_since = None; // `wait_for_server` limits the first connection only.
        }
    }

    /// Records that the server has answered a SUBSCRIBE or UNSUBSCRIBE.
    pub(super) fn handle_answer(&mut self) {
        self.was_answered = true;
    }

    /// Records that the connection has made progress. After its loss, the waits and the time limit start anew.
    pub(super) fn handle_progress(&mut self) {
        self.lost_since = None;
        self.backoff.reset();
    }

    /// Records that a server has failed and that the next server is tried without a wait.
    pub(super) fn skip_wait(&mut self, error: &ClientError, is_referred: bool) {
        // `next_wait` sees only the error of the last server that is tried before the wait. If this server may accept
        // the client later, the client must retry after the wait, even if that last error is permanent.
        self.round_may_pass |= is_referred || may_pass(error, true);
    }

    /// Returns the wait before the next attempt, after an attempt has failed or the connection was lost. `random`
    /// determines the jitter of the wait. `may_get_further` is `true` if the next connection may make more progress
    /// than the last one. Returns `None` if the client must give up.
    pub(super) fn next_wait(
        &mut self,
        options: &Options,
        now: Instant,
        error: &ClientError,
        may_get_further: bool,
        random: u32,
    ) -> Option<Duration> {
        // The client waits and retries if any server of this round may accept it later. An error that the client itself
        // causes would occur at every server, so such an error ends the attempts.
        let of_round = std::mem::take(&mut self.round_may_pass) && servers::is_about_server(error);
        let lost_since = *self.lost_since.get_or_insert(now);
        if !self.may_retry(
            options,
            error,
            of_round || may_get_further,
            now - lost_since,
        ) {
            return None;
        }
        let wait = self.backoff.next(random);
        // The wait ends at the time limit at the latest, so that the last attempt starts then.
        let left = self.end(options).map(|end| end - now);
        Some(left.map_or(wait, |left| wait.min(left)))
    }

    /// Returns the deadline of a step that has this timeout. The time limit of all attempts may shorten the step.
    pub(super) fn end_of_step(
        &self,
        options: &Options,
        now: Instant,
        timeout: Duration,
    ) -> Instant {
        let end = now + timeout;
        match self.end(options) {
            // The time limit shortens the step, but a server that answers quickly must still have a chance.
            Some(limit) => end.min(limit.max(now + SHORTEST_ATTEMPT)),
            None => end,
        }
    }

    /// Returns the start of the first attempt, or the time at which the connection was lost.
    #[cfg(test)]
    pub(super) fn lost_since(&self) -> Option<Instant> {
        self.lost_since
    }

    /// Returns the time at which the client gives up, or `None` if no time limit applies now.
    fn end(&self, options: &Options) -> Option<Instant> {
        let time = match (self.was_connected, options.reconnect) {
            // An address that was reached once is configured correctly, so the client retries without a limit.
            (false, Reconnect::Always) if self.was_reached => return None,
            // The user wants a single attempt. Only the timeouts of its steps limit it.
            (false, _) if options.wait_for_server.is_zero() => return None,
            (false, _) => options.wait_for_server,
            (true, Reconnect::For(limit)) => limit,
            (true, _) => return None,
        };
        Some(self.lost_since? + time)
    }

    /// Returns `true` if the client may make another attempt. `gone_for` is the time since `lost_since`.
    fn may_retry(
        &self,
        options: &Options,
        error: &ClientError,
        of_round: bool,
        gone_for: Duration,
    ) -> bool {
        // A server that has never answered a SUBSCRIBE is broken. If it has answered before, the network may be the
        // cause, and a new connection may work.
        let is_unanswered = matches!(error, ClientError::Closed(CloseReason::ResponseTimeout(_)));
        if is_unanswered && !self.was_answered {
            return false;
        }
        // Until the first connection, `wait_for_server` allows further attempts even with `Reconnect::Never`.
        let awaited = !self.was_connected && gone_for < options.wait_for_server;
        (of_round || may_pass(error, awaited || self.was_connected))
            && (awaited
                || match options.reconnect {
                    Reconnect::Never => false,
                    Reconnect::For(limit) => self.was_connected && gone_for < limit,
                    // A server that no attempt has reached may not exist, so the first failure must be reported.
                    Reconnect::Always => self.was_reached,
                })
    }
}

/// Returns `true` if the next attempt may succeed. A CONNACK that rejects the client is permanent, with one exception:
/// if `busy_may_pass` is set, a reason code such as Server busy counts as temporary, because the server may still be
/// starting.
fn may_pass(error: &ClientError, busy_may_pass: bool) -> bool {
    match error {
        ClientError::Connect(_) | ClientError::Lookup(_) => true,
        // An invalid certificate stays invalid. A stream that was cut off may be a temporary failure.
        ClientError::Transport(error) => error.kind() != std::io::ErrorKind::InvalidData,
        ClientError::Closed(reason) => match reason {
            CloseReason::ConnectionLost
            | CloseReason::HandshakeTimeout
            | CloseReason::KeepAliveTimeout
            | CloseReason::ResponseTimeout(_) => true,
            CloseReason::Disconnected(disconnect) => is_passing(disconnect.reason_code),
            CloseReason::Refused(connack) => busy_may_pass && is_passing(connack.reason_code),
            _ => false,
        },
        _ => false,
    }
}

/// Returns `true` for reason codes that the server need not send again on a new connection.
fn is_passing(reason_code: ReasonCode) -> bool {
    matches!(
        reason_code,
        ReasonCode::Success
            | ReasonCode::UnspecifiedError
            | ReasonCode::ImplementationSpecificError
            | ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::ServerShuttingDown
            | ReasonCode::KeepAliveTimeout
            // An earlier CONNECT of this client may arrive after the last one and take over the session.
            | ReasonCode::SessionTakenOver
            | ReasonCode::ReceiveMaximumExceeded
            | ReasonCode::MessageRateTooHigh
            | ReasonCode::QuotaExceeded
            | ReasonCode::AdministrativeAction
            | ReasonCode::ConnectionRateExceeded
            | ReasonCode::MaximumConnectTime
    )
}
