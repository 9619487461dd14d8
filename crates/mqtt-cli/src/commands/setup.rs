//! The set-up that rpub, rsub and rrr share: from the command line to an event loop that a signal wakes.

use std::ffi::OsString;

use mqtt_client::session::Session;
use mqtt_client::{EventLoop, Options};
use mqtt_codec::{Disconnect, ReasonCode};

use crate::commands::signals::Interrupts;
use crate::diagnostics::Diagnostics;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::definition::{OptionGroup, help_options};
use crate::flags::options::auth::auth_options;
use crate::flags::options::debug::{debug_options, options_file_option};
use crate::flags::options::host::{host_options, redirect_options};
use crate::flags::options::properties::property_option;
use crate::flags::options::session::{session_options, timeout_options};
use crate::flags::options::tls::tls_options;
use crate::flags::options::transport::transport_options;
use crate::flags::options::will::will_options;
use crate::flags::parser::Parsed;
use crate::flags::program::Program;
use crate::flags::settings::connection::{ClientSettings, ConnectionSettings};
use crate::wording::system_text;

/// The part of a plan that does not depend on the program: the connection, its session, its end and its errors.
#[derive(Debug)]
pub(super) struct ClientPlan {
    pub(super) options: Options,
    session: Option<Session>,
    pub(super) disconnect: Disconnect,
    pub(super) diagnostics: Diagnostics,
}

impl ClientPlan {
    pub(super) fn new(connection: &ConnectionSettings, options: Options) -> Self {
        Self {
            // No run saves its session for the next one, so a resumed session starts without state. rsub loses nothing by
            // that: the messages that earlier runs acknowledged were written.
            session: connection.keep_session.then(Session::without_state),
            disconnect: Disconnect {
                reason_code: ReasonCode::Success,
                properties: connection.properties.disconnect.clone(),
            },
            diagnostics: Diagnostics::new(connection, options.servers.first()),
            options,
        }
    }

    /// Creates the event loop. SIGINT and SIGTERM wake it from now on.
    #[allow(unused_mut)] // only Unix has a source of signals
    pub(super) fn start(&mut self) -> Result<(EventLoop, Interrupts), Failure> {
        let failure = |error| self.diagnostics.failure(error);
        let mut event_loop =
            EventLoop::new(self.options.clone(), self.session.take()).map_err(failure)?;
        let mut interrupts = Interrupts::listen().map_err(|error| {
            Failure::failed(format!("Cannot wait for signals: {}.", system_text(&error)))
        })?;
        #[cfg(unix)]
        event_loop
            .register(&mut interrupts.source)
            .map_err(|error| failure(error.into()))?;
        Ok((event_loop, interrupts))
    }
}

/// Parses the command line, starts the log if `-d` asks for it, and runs the program with its settings.
///
/// # Errors
/// A mistake on the command line, or the failure of the program.
pub(super) fn run<S: ClientSettings + Default>(
    program: &Program<S>,
    arguments: &[OsString],
    start_log: fn(&[OsString]),
    run: impl FnOnce(S) -> Result<Status, Failure>,
) -> Result<Status, Failure> {
    let mut settings = match program.parse(arguments)? {
        Parsed::Run(settings) => settings,
        Parsed::HelpShown => return Ok(Status::Success),
    };
    // Without a logger, packet lines cost nothing.
    if settings.connection().debug {
        start_log(arguments);
    }
    run(settings)
}

/// Lets hosts on the command line replace those of the options file, instead of adding fallback hosts to them.
pub(super) fn end_options_file<S: ClientSettings>(settings: &mut S) {
    settings.connection().end_options_file();
}

/// Returns the groups of options that only one program has, followed by those of all client programs.
pub(super) fn with_shared_options<S: ClientSettings>(
    own: Vec<OptionGroup<S>>,
) -> Vec<OptionGroup<S>> {
    let mut groups = own;
    // The order of groups and options is that of the help.
    let mut broker = host_options();
    broker.extend(auth_options());
    broker.extend(redirect_options());
    groups.extend([
        ("Broker", broker),
        ("Client identifier and session", session_options()),
        ("Timeouts and reconnecting", timeout_options()),
        ("TLS", tls_options()),
        ("WebSocket, proxy and network", transport_options()),
        ("Will", will_options()),
        ("MQTT 5.0 properties", property_option()),
        ("Diagnostics", debug_options()),
    ]);
    let mut general = options_file_option();
    general.extend(help_options());
    groups.push(("General", general));
    groups
}
