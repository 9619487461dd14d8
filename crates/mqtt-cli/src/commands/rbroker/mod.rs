//! `rbroker`: the broker, with mosquitto's options and configuration language.

mod check;
mod files;
mod log;
mod memory;
mod options;
pub(crate) mod passwd;
mod process;
mod start_error;
pub(crate) mod status;
mod subcommand;

pub(crate) use options::program;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ::log::{info, warn};
use anyhow::Context;
use mqtt_broker::{BrokerConfig, EVENTS, LogDestination, LogFeed, Server};

use crate::commands::documentation;
use crate::commands::signals::Interrupts;
#[cfg(unix)]
use crate::commands::signals::ServiceSignals;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::parser::Parsed;
use crate::output::logger;
use crate::output::trace::{self, Form};

const DEFAULT_PORT: u16 = 1883;

/// What was typed.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    config_file: Option<PathBuf>,
    ports: Vec<u16>,
    verbose: bool,
    quiet: bool,
    daemon: bool,
    test_config: bool,
    trace: Option<Form>,
    key_log: Option<PathBuf>,
}

/// Runs the program, until SIGINT or SIGTERM.
///
/// # Errors
/// What goes to standard error in one line, with the exit status: 3 for options and configuration,
/// 1 for an address that cannot be listened on.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    if let Some((word, rest)) = arguments.get(1..).and_then(<[_]>::split_first) {
        match word.to_str() {
            Some("passwd") => return passwd::run(rest),
            Some("status") => return status::run(rest),
            _ => {}
        }
    }
    if let Some(answer) = documentation::answer("rbroker", arguments) {
        return answer;
    }
    let typed = match program().parse(arguments) {
        Ok(Parsed::Run(typed)) => typed,
        Ok(Parsed::HelpShown) => return Ok(Status::Success),
        Err(failure) => {
            return Err(failure.with_status(Status::Configuration));
        }
    };
    let settings = typed.settings()?;
    if typed.test_config {
        for warning in &settings.warnings {
            eprintln!("Warning: {warning}");
        }
        check::check(&settings)?;
        logger::print_error("Configuration file is OK.\n");
        return Ok(Status::Success);
    }
    let mut background = if typed.daemon {
        Some(process::Background::begin()?)
    } else {
        None
    };
    let result = serve(typed, settings, &mut background);
    if let (Err(failure), Some(background)) = (&result, background) {
        let _ = background.end_start(failure.status); // who waits for it may be gone
    }
    result
}

/// Serves, until a signal ends it. `background` is told when it runs.
fn serve(
    typed: Typed,
    settings: BrokerConfig,
    background: &mut Option<process::Background>,
) -> Result<Status, Failure> {
    #[cfg(unix)]
    let requests = ServiceSignals::listen().context("cannot wait for signals")?;
    let feed = LogFeed::default();
    let is_published = settings.log.destinations.contains(&LogDestination::Topic);
    let log_files = log::start(&settings.log, typed.loudness(), &feed);
    log_start(typed.config_file.as_deref(), &settings);
    let default = [DEFAULT_PORT];
    let ports = if typed.ports.is_empty() {
        &default[..]
    } else {
        &typed.ports
    };
    let (user, control_socket) = (settings.user.clone(), settings.control_socket.clone());
    let pid_file = settings.pid_file.clone();
    process::allow_many_files();
    let (store, places) = (settings.store(), settings.places.clone());
    let failure = |error| start_error::failure(start_error::START, &error, &places);
    let mut server = Server::bind(settings, ports).map_err(failure)?;
    if is_published {
        server.publish_log(feed);
    }
    status::answer(&mut server, &control_socket);
    // From here on with the rights of the user who serves, so that a reload needs no others, and whoever may write
    // where these files are cannot use the rights of root.
    let other = |directive: &'static str| {
        let places = &places;
        move |error| start_error::other(&error, places.of_directive(directive))
    };
    process::become_user(user.as_deref(), server.unix_sockets()).map_err(other("user"))?;
    let reopener = log_files.open();
    let pid_file = pid_file.as_deref().map(process::PidFile::write);
    let pid_file = pid_file.transpose().map_err(other("pid_file"))?;
    let is_checked = store.map(process::StoreCheck::begin);
    server.open().map_err(failure)?;
    drop(is_checked);
    if let Some(form) = typed.trace {
        server.observe(trace::observer(form, "rbroker", String::new()));
    }
    #[allow(unused_mut, unused_variables)] // only Unix has a source
    let mut interrupts = Interrupts::listen().context("cannot wait for signals")?;
    #[cfg(unix)]
    server
        .stop_on(&mut interrupts.source)
        .context("cannot wait for signals")?;
    #[cfg(unix)]
    answer_signals(&mut server, requests, move || {
        reopener.reopen();
        let settings = typed.settings();
        settings
            .inspect(log_warnings)
            .map_err(|failure| format!("{:#}", failure.error))
    })
    .context("cannot wait for signals")?;
    info!(target: EVENTS, "rbroker version {VERSION} running.");
    process::tell_ready();
    if let Some(background) = background.take() {
        let ready = background.end_start(Status::Success);
        ready.context("cannot leave the terminal")?;
    }
    memory::return_free_pages();
    server.measure_memory_with(memory::used);
    server.run().context("the broker stops")?;
    process::tell_stopping();
    info!(target: EVENTS, "rbroker version {VERSION} terminating.");
    drop(pid_file);
    Ok(Status::Success)
}

fn log_start(config_file: Option<&Path>, settings: &BrokerConfig) {
    info!(target: EVENTS, "rbroker version {VERSION} starting.");
    match config_file {
        Some(path) => info!(target: EVENTS, "Config loaded from {}.", path.display()),
        None => info!(target: EVENTS, "Using default config."),
    }
    log_warnings(settings);
}

fn log_warnings(settings: &BrokerConfig) {
    for warning in &settings.warnings {
        warn!(target: EVENTS, "{warning}");
    }
}

/// Lets the server do what signals ask for.
#[cfg(unix)]
fn answer_signals(
    server: &mut Server,
    requests: ServiceSignals,
    reader: impl FnMut() -> Result<BrokerConfig, String> + 'static,
) -> std::io::Result<()> {
    server.reload_on(requests.reload, reader)?;
    server.save_on(requests.save)?;
    server.dump_on(requests.dump)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Typed {
    fn settings(&self) -> Result<BrokerConfig, Failure> {
        let mut settings = match &self.config_file {
            Some(path) => BrokerConfig::read(path)
                .map_err(|error| Failure::new(Status::Configuration, error))?,
            None => BrokerConfig::new(),
        };
        if let Some(path) = &self.key_log {
            let listeners = settings.listeners.iter_mut();
            let mut with_tls = listeners
                .filter_map(|listener| listener.tls.as_mut())
                .peekable();
            if with_tls.peek().is_none() {
                let text = "--tls-keylog needs a listener with TLS (certfile and keyfile).";
                return Err(Failure::usage(text).with_status(Status::Configuration));
            }
            with_tls.for_each(|tls| tls.key_log = Some(path.clone()));
        }
        if let Some(folder) = std::env::var_os("MOSQUITTO_PERSISTENCE_LOCATION") {
            settings.persistence_location = folder.into();
        }
        Ok(settings)
    }

    fn loudness(&self) -> log::Loudness {
        match (self.quiet, self.verbose) {
            (true, _) => log::Loudness::Quiet,
            (_, true) => log::Loudness::Verbose,
            _ => log::Loudness::Configured,
        }
    }
}
