//! The broker that serves clients: `rbroker` without a subcommand. This file has the order of the start; the broker
//! itself is `mqtt_broker::Server`.

mod check;
mod files;
mod log;
mod memory;
mod options;
mod process;
pub(super) mod settings;
mod start_error;

pub(crate) use options::program;

use std::ffi::OsString;
use std::path::Path;

use ::log::{info, warn};
use anyhow::Context;
use mqtt_broker::{BrokerConfig, EVENTS, LogDestination, LogFeed, Server};

use super::control_socket;
use crate::commands::signals::{Interrupts, ServiceSignals};
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::parser::Parsed;
use crate::output::logger;
use crate::output::trace;

use settings::ServeSettings;

/// Parses the options, and serves until SIGINT or SIGTERM.
///
/// # Errors
/// If the options or the configuration are invalid, or the broker cannot start.
pub(super) fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    let settings = match program().parse(arguments) {
        Ok(Parsed::Run(settings)) => settings,
        Ok(Parsed::HelpShown) => return Ok(Status::Success),
        Err(failure) => {
            return Err(failure.with_status(Status::Configuration));
        }
    };
    let config = settings.config()?;
    if settings.test_config {
        for warning in &config.warnings {
            eprintln!("Warning: {warning}");
        }
        check::check(&config)?;
        logger::print_error("Configuration file is OK.\n");
        return Ok(Status::Success);
    }
    let mut background = if settings.daemon {
        Some(process::Background::begin()?)
    } else {
        None
    };
    let result = serve(settings, config, &mut background);
    if let (Err(failure), Some(background)) = (&result, background) {
        // The parent process, which waits for the result of the start, may have ended.
        let _ = background.end_start(failure.status);
    }
    result
}

/// Checks the configuration of a service before the service is installed.
///
/// # Errors
/// If the configuration or a file that it names is invalid.
#[cfg(windows)]
pub(super) fn check_file(file: &Path) -> Result<(), Failure> {
    check::check(&ServeSettings::of_file(file).config()?)
}

/// Runs the broker until the service manager of Windows stops the service. `ready` reports that clients can connect.
///
/// # Errors
/// If the configuration is invalid, or the broker cannot start.
#[cfg(windows)]
pub(super) fn serve_as_service(
    file: &Path,
    ready: impl FnOnce() + 'static,
) -> Result<Status, Failure> {
    // The service manager starts programs in the folder of the system, which must not contain a store.
    if let Some(folder) = file.parent() {
        std::env::set_current_dir(folder)
            .context("cannot enter the folder of the configuration")?;
    }
    let settings = ServeSettings::of_file(file);
    let config = settings.config()?;
    serve(
        settings,
        config,
        &mut Some(process::Background::of_service(ready)),
    )
}

/// Serves until a signal ends the broker. `background` gets the result of the start.
///
/// The order of the steps matters: privileged ports are opened as root, files as the configured user.
fn serve(
    settings: ServeSettings,
    config: BrokerConfig,
    background: &mut Option<process::Background>,
) -> Result<Status, Failure> {
    // Before all other steps, because SIGHUP ends a process that does not handle it.
    #[cfg_attr(unix, allow(unused_mut))] // only Windows has a request to stop
    let mut requests = ServiceSignals::listen().context("cannot wait for signals")?;
    let feed = LogFeed::default();
    #[cfg(windows)]
    let mut stop = requests.stop.take();
    let is_published = config.log.destinations.contains(&LogDestination::Topic);
    let log_files = log::start(&config.log, settings.loudness(), &feed);
    log_start(settings.config_file.as_deref(), &config);
    let (user, control_socket) = (config.user.clone(), config.control_socket.clone());
    let pid_file = config.pid_file.clone();
    process::allow_many_files();
    let (store, places) = (config.store(), config.places.clone());
    let failure = |error| start_error::failure(start_error::START, &error, &places);
    let mut server = Server::bind(config, settings.ports()).map_err(failure)?;
    if is_published {
        server.publish_log(feed);
    }
    control_socket::answer(&mut server, &control_socket);
    // All steps after this one have the permissions of the configured user. So a reload never needs more permissions,
    // and a user who can write in the folder of the log cannot make root write to another file.
    let other = |directive: &'static str| {
        let places = &places;
        move |error| start_error::other(&error, places.of_directive(directive))
    };
    process::become_user(user.as_deref(), server.unix_sockets()).map_err(other("user"))?;
    let reopener = log_files.open();
    let pid_file = pid_file.as_deref().map(process::PidFile::write);
    let pid_file = pid_file.transpose().map_err(other("pid_file"))?;
    // The panic hook of `StoreCheck` is removed after the store was opened, because a later panic has another cause.
    let is_checked = store.map(process::StoreCheck::begin);
    server.open().map_err(failure)?;
    drop(is_checked);
    if let Some(form) = settings.trace {
        server.observe(trace::observer(form, "rbroker", String::new()));
    }
    let mut interrupts = Interrupts::listen().context("cannot wait for signals")?;
    server
        .stop_on(&mut interrupts.source)
        .context("cannot wait for signals")?;
    #[cfg(windows)]
    if let Some(stop) = &mut stop {
        server.stop_on(stop).context("cannot wait for events")?;
    }
    answer_signals(&mut server, requests, move || {
        reopener.reopen();
        let config = settings.config();
        config
            .inspect(log_warnings)
            .map_err(|failure| format!("{:#}", failure.error))
    })
    .context("cannot wait for signals")?;
    run_server(server, background)?;
    // The pid_file is removed while the process still exists.
    drop(pid_file);
    Ok(Status::Success)
}

/// Runs the server until a signal ends it. Reports to systemd and to the parent process of `-d` that the start has
/// succeeded.
fn run_server(
    mut server: Server,
    background: &mut Option<process::Background>,
) -> anyhow::Result<()> {
    info!(target: EVENTS, "rbroker version {VERSION} running.");
    // All listeners are open, so systemd and the parent process may start clients now.
    process::tell_ready();
    if let Some(background) = background.take() {
        let ready = background.end_start(Status::Success);
        ready.context("cannot detach from the terminal")?;
    }
    // This call starts a thread, so it comes after the fork of `-d`, which copies only the calling thread.
    memory::return_free_pages();
    server.measure_memory_with(memory::used);
    process::report_to_systemd(&mut server);
    server.run().context("the broker failed")?;
    info!(target: EVENTS, "rbroker version {VERSION} terminating.");
    Ok(())
}

/// Logs the version and the source of the configuration, in mosquitto's words.
fn log_start(config_file: Option<&Path>, config: &BrokerConfig) {
    info!(target: EVENTS, "rbroker version {VERSION} starting.");
    match config_file {
        Some(path) => info!(target: EVENTS, "Config loaded from {}.", path.display()),
        None => info!(target: EVENTS, "Using default config."),
    }
    log_warnings(config);
}

/// Logs the warnings about the configuration.
fn log_warnings(config: &BrokerConfig) {
    for warning in &config.warnings {
        warn!(target: EVENTS, "{warning}");
    }
}

/// Lets the server handle SIGHUP, SIGUSR1 and SIGUSR2, and the named events of Windows. `reader` reads the configuration
/// again.
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
