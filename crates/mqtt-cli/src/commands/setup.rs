//! The set-up that rpub, rsub and rrr share: from the command line to an event loop that SIGINT and SIGTERM wake. The
//! loops of the programs are in `rpub/` and `subscriber/`.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::Session;
use mqtt_client::{EventLoop, Options};
use mqtt_codec::{Disconnect, ReasonCode};

use crate::commands::deadline;
use crate::commands::signals::Interrupts;
use crate::commands::verdict::{Report, SharedVerdict};
use crate::diagnostics::Diagnostics;
use crate::exit_status::{Status, use_plugin_statuses, use_sysexits};
use crate::failure::Failure;
use crate::flags::definition::{CommandOption, OptionGroup, help_options};
use crate::flags::options::auth::auth_options;
use crate::flags::options::debug::{debug_options, options_file_option};
use crate::flags::options::host::{host_options, redirect_options};
use crate::flags::options::properties::property_option;
use crate::flags::options::session::{session_options, timeout_options};
use crate::flags::options::tls::tls_options;
use crate::flags::options::transport::transport_options;
use crate::flags::options::url;
use crate::flags::options::will::will_options;
use crate::flags::parser::Parsed;
use crate::flags::profiles::SourceEffects;
use crate::flags::program::Program;
use crate::flags::settings::connection::{ClientSettings, ConnectionSettings};
use crate::wording::system_text;

/// The part of a plan that is the same for rpub, rsub and rrr: the connection, its session, the DISCONNECT at its end,
/// and the lines about its errors.
#[derive(Debug)]
pub(super) struct ClientPlan {
    pub(super) options: Options,
    session: Option<Session>,
    pub(super) disconnect: Disconnect,
    /// The time at which `-W` ends the program.
    pub(super) deadline: Option<Instant>,
    pub(super) diagnostics: Diagnostics,
}

impl ClientPlan {
    pub(super) fn new(connection: &ConnectionSettings, options: Options) -> Self {
        Self {
            // These programs save no session state for their next run, so a session that `-c` resumes starts without
            // state at the client. rsub loses no message by that: it acknowledges a message only after it has written
            // the message.
            session: connection.keep_session.then(Session::without_state),
            disconnect: Disconnect {
                reason_code: ReasonCode::Success,
                properties: connection.properties.disconnect.clone(),
            },
            deadline: connection.deadline(),
            diagnostics: Diagnostics::new(connection, options.servers.first()),
            options,
        }
    }

    /// Returns a time to wait at the end of the program: `grace`, or less if the deadline of `-W` comes before.
    pub(super) fn at_most(&self, grace: Duration) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        // After the deadline there is still the time for a DISCONNECT.
        let left = self
            .deadline
            .map(|deadline| left(deadline) + deadline::GRACE);
        left.map_or(grace, |left| left.min(grace))
    }

    /// Returns `true` if the deadline of `-W` has passed.
    pub(super) fn is_too_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Creates the event loop. From now on SIGINT and SIGTERM, or Ctrl-C, wake the event loop instead of ending the process.
    pub(super) fn start(&mut self) -> Result<(EventLoop, Interrupts), Failure> {
        let failure = |error| self.diagnostics.failure(error);
        let mut event_loop =
            EventLoop::new(self.options.clone(), self.session.take()).map_err(failure)?;
        let mut interrupts = Interrupts::listen().map_err(|error| {
            Failure::failed(format!("Cannot wait for signals: {}.", system_text(&error)))
        })?;
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
    run: impl FnOnce(S, &SharedVerdict) -> Result<Status, Failure>,
) -> Result<Status, Failure> {
    // The parser stops at the first wrong option, possibly before `--exit-status`. The exit status for a wrong command
    // line must follow this option, so the option is looked up first.
    if asks_for_sysexits(arguments) {
        use_sysexits(true);
    }
    let parsed = program.parse(arguments).inspect_err(|_| {
        if program.name == "rsub" && arguments.iter().any(|word| word == "--check") {
            use_plugin_statuses();
        }
    });
    let mut settings = match parsed? {
        Parsed::Run(settings) => settings,
        Parsed::HelpShown => return Ok(Status::Success),
    };
    // Without `-d` no logger is set, and the macros for packet lines return immediately.
    if settings.connection().debug {
        start_log(arguments);
    }
    let connection = settings.connection();
    let verdict = SharedVerdict::default();
    let report = match &connection.report {
        None => None,
        Some(path) => {
            let (name, started) = (program.name, connection.started);
            let report = Report::create(name, path, started, Arc::clone(&verdict))?;
            Some(Arc::new(report))
        }
    };
    if let Some(deadline) = connection.deadline() {
        deadline::enforce(deadline, connection.quiet, report.clone()).map_err(|error| {
            Failure::failed(format!("Cannot start a thread: {}.", system_text(&error)))
        })?;
    }
    let result = run(settings, &verdict);
    let Some(report) = report else {
        return result;
    };
    let written = report.write(result.as_ref().copied());
    // If both the run and the report failed, the failure of the run is returned, because it is the first cause.
    result.and_then(|status| written.map(|()| status))
}

/// Returns `true` if the command line has `--exit-status sysexits`.
fn asks_for_sysexits(arguments: &[OsString]) -> bool {
    let mut pairs = arguments.iter().zip(arguments.iter().skip(1));
    pairs.any(|(option, value)| option == "--exit-status" && value == "sysexits")
        || arguments
            .iter()
            .any(|word| word == "--exit-status=sysexits")
}

/// Returns the effects of options file, profile and environment variables on the settings of a client program.
pub(super) fn sources<S: ClientSettings>() -> SourceEffects<S> {
    SourceEffects {
        begin: |settings, source| settings.connection().begin_source(source),
        apply_broker_url: |settings, url| url::apply_broker(settings.connection(), url),
    }
}

/// Returns the groups of options of one program, followed by the groups that all client programs share.
pub(super) fn with_shared_options<S: ClientSettings>(
    own: Vec<OptionGroup<S>>,
) -> Vec<OptionGroup<S>> {
    let mut groups = own;
    // The help lists groups and options in this order.
    let mut broker = host_options();
    broker.extend(auth_options());
    broker.extend(redirect_options());
    let connection = [
        ("Broker", broker),
        ("Client identifier and session", session_options()),
        ("Timeouts and reconnecting", timeout_options()),
        ("TLS", tls_options()),
        ("WebSocket, proxy and network", transport_options()),
        ("Will", will_options()),
        ("MQTT 5.0 properties", property_option()),
    ];
    let in_profiles = |options: Vec<CommandOption<S>>| {
        let options = options.into_iter().map(CommandOption::in_profiles);
        options.collect()
    };
    groups.extend(connection.map(|(heading, options)| (heading, in_profiles(options))));
    groups.push(("Diagnostics", debug_options()));
    let mut general = options_file_option();
    general.extend(help_options());
    groups.push(("General", general));
    groups
}
