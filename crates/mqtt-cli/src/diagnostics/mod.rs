//! The lines about the connection that rpub, rsub and rrr print for the user: lost connections, new connections, and
//! the error that ends the program. `error_text.rs` has the texts and exit statuses.

mod error_text;

use std::time::{Duration, Instant};

use mqtt_client::session::{CloseReason, Printable};
use mqtt_client::{ClientError, Server};
use mqtt_codec::{DecodeError, ProtocolVersion, ReasonCode};

use crate::failure::Failure;
use crate::flags::settings::connection::ConnectionSettings;
use crate::output::messages::{note, warn};

use error_text::{Target, class, error_text, printable_server, reason, status};

/// The facts about the connection that the printed lines need.
#[derive(Debug, Clone)]
pub(crate) struct Diagnostics {
    version: ProtocolVersion,
    target: Target,
    /// The proxy through which network servers are reached, if one is set.
    proxy: Option<String>,
    /// Set if the client follows Server References. Otherwise the printed error names `--follow-redirects`.
    follows_references: bool,
    quiet: bool,
    takeovers: TakeoverCounter,
    reported: Reported,
}

/// The state of the connection according to the printed lines. A line about a new connection is printed only if this
/// state changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reported {
    /// The program has printed no failure and has had no connection.
    New,
    /// The program has printed a failure and has had no connection.
    Failed,
    /// The client is connected.
    Up,
    /// The connection was lost, and the program has printed that.
    Lost,
}

/// Counts recent takeovers of the session by another client. This client's own late CONNECT can cause one takeover. Two
/// clients with the same client identifier would take the session from each other for ever.
#[derive(Debug, Clone, Default)]
struct TakeoverCounter {
    count: u8,
    last: Option<Instant>,
}

/// The number of takeovers in a row that only another client can cause.
const MAXIMUM_TAKEOVERS: u8 = 3;

/// The count of takeovers in a row starts again if at least this time has passed since the last takeover.
const TAKEOVER_INTERVAL: Duration = Duration::from_secs(60);

impl TakeoverCounter {
    /// Counts a takeover. Returns `true` if the client must give up.
    fn add(&mut self, now: Instant) -> bool {
        if self
            .last
            .is_some_and(|last| now - last >= TAKEOVER_INTERVAL)
        {
            self.count = 0;
        }
        self.last = Some(now);
        self.count += 1;
        self.count >= MAXIMUM_TAKEOVERS
    }
}

impl Diagnostics {
    /// Creates the diagnostics of a program that first connects to `server`.
    pub(crate) fn new(connection: &ConnectionSettings, server: Option<&Server>) -> Self {
        let proxy = connection.transport.proxy.as_ref();
        let proxy = proxy.map(|proxy| Server::network(&*proxy.host, proxy.port));
        let proxy = proxy.map(|proxy| printable_server(Some(&proxy)));
        Self {
            version: connection.version(),
            target: Target::new(server, proxy.as_ref()),
            proxy,
            follows_references: connection.follow_redirects,
            quiet: connection.quiet,
            takeovers: TakeoverCounter::default(),
            reported: Reported::New,
        }
    }

    /// Prints that the broker has accepted the connection, if a failure was printed before. If the first attempt
    /// succeeds, nothing is printed.
    pub(crate) fn print_connected(&mut self) {
        let text = match std::mem::replace(&mut self.reported, Reported::Up) {
            Reported::New | Reported::Up => return,
            Reported::Failed => "Connected",
            Reported::Lost => "Reconnected",
        };
        if !self.quiet {
            note(&format!("{text} to {}.", self.target.server));
        }
    }

    /// Returns the failure of a program that ends because of an error.
    pub(crate) fn failure(&self, error: ClientError) -> Failure {
        let status = status(&error, self.version);
        let words = self.text(&error);
        let class = class(&error);
        let reason = reason(&error, self.version);
        // The mosquitto tools print these errors without "Error:".
        let failure = match error {
            ClientError::Lookup(_)
            | ClientError::Transport(_)
            | ClientError::Closed(
                CloseReason::Refused(_) | CloseReason::Decode(DecodeError::ConnackCode(_)),
            ) => Failure::unmarked(status, words),
            _ => Failure::new(status, anyhow::anyhow!(words)),
        };
        let failure = match class {
            Some(class) => failure.with_class(class),
            None => failure,
        };
        let failure = match reason {
            Some((code, text)) => failure.with_reason(code, text.as_deref()),
            None => failure,
        };
        failure.quiet_if(self.quiet)
    }

    /// Prints that the connection was lost, and when the client connects again and to which server.
    ///
    /// # Errors
    /// If the client must give up, because another client has taken over the session three times in a row.
    pub(crate) fn report_loss(
        &mut self,
        error: ClientError,
        wait: Duration,
        next: Option<&Server>,
    ) -> Result<(), Failure> {
        // See [`TakeoverCounter`] for the reason of the limit.
        if is_takeover(&error) && self.takeovers.add(Instant::now()) {
            let hint = "Another client uses the same client identifier (-i).";
            return Err(self.failure(error).with_hint(hint));
        }
        // After `Failed` the next connection is reported as "Connected", after `Lost` as "Reconnected".
        self.reported = match self.reported {
            Reported::New | Reported::Failed => Reported::Failed,
            Reported::Up | Reported::Lost => Reported::Lost,
        };
        let words = self.text(&error);
        let next = Target::new(next, self.proxy.as_ref());
        let server = &next.server;
        // The next server is named only if it differs from the server of the error.
        let then = match (next == self.target, wait.as_secs_f64()) {
            (true, seconds) => format!("Trying again in {seconds:.1} s."),
            (false, 0.0) => format!("Trying {server}."),
            (false, seconds) => format!("Trying {server} in {seconds:.1} s."),
        };
        self.warn(&format!("{words} {then}"));
        self.target = next;
        Ok(())
    }

    /// Returns the text of an error, with the Server Reference of the broker if the client does not follow it.
    fn text(&self, error: &ClientError) -> String {
        let words = error_text(error, self.version, &self.target);
        match error.server_reference() {
            // A client that follows references reports the other server as the next server.
            Some(reference) if !self.follows_references => format!(
                "{words} The broker refers to '{}' (use --follow-redirects to connect there).",
                Printable(reference)
            ),
            _ => words,
        }
    }

    /// Returns the name of the server that the client is connected to, or tried last.
    pub(crate) fn server(&self) -> &str {
        &self.target.server
    }

    /// Sets the server to which the client connects now.
    pub(crate) fn set_server(&mut self, server: Option<&Server>) {
        self.target = Target::new(server, self.proxy.as_ref());
    }

    /// Returns `true` if `--quiet` is given.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints a note, unless `--quiet` is given.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            note(text);
        }
    }

    /// Prints a warning, unless `--quiet` is given.
    pub(crate) fn warn(&self, text: &str) {
        if !self.quiet {
            warn(text);
        }
    }
}

/// Returns `true` if another client has taken the session over.
fn is_takeover(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Closed(CloseReason::Disconnected(disconnect))
            if disconnect.reason_code == ReasonCode::SessionTakenOver
    )
}
