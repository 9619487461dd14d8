//! `rbroker`: the broker, with mosquitto's options and configuration language.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use log::LevelFilter;
use mqtt_broker::{EVENTS, Server, Settings};

use crate::arguments::{Parsed, Program, flag, number, optional, told_with_short_help, value};
use crate::exit::{Failure, Status};
use crate::logger;
use crate::options::shown;
use crate::signal::Interrupts;
use crate::trace::{self, Form};

const DEFAULT_PORT: u16 = 1883;

/// What was typed.
#[derive(Debug, Default)]
struct Typed {
    config_file: Option<PathBuf>,
    ports: Vec<u16>,
    verbose: bool,
    quiet: bool,
    test_config: bool,
    trace: Option<Form>,
}

fn program() -> Program<Typed> {
    Program {
        name: "rbroker",
        about: "A small MQTT broker. Without a configuration only programs on this machine can connect",
        after_help: "Exit status: 0 ended by SIGINT or SIGTERM; 1 an address cannot be listened on, or \
                     the store fails; 3 wrong options or configuration.",
        after_options_file: None,
        options: vec![
            (
                "Options",
                vec![
                    value(
                        "-c",
                        "--config-file",
                        "file",
                        "Configuration file, in the language of mosquitto.conf",
                        |s: &mut Typed, v| {
                            s.config_file = Some(v.into());
                            Ok(())
                        },
                    ),
                    value(
                        "-p",
                        "--port",
                        "port",
                        "Port to listen on, if the configuration has no listener; 0 takes a free one; may be repeated [1883]",
                        |s: &mut Typed, v| {
                            let invalid = || {
                                Failure::usage(format!("Invalid port specified ({}).", shown(v)))
                            };
                            s.ports.push(number(v).ok_or_else(invalid)?);
                            Ok(())
                        },
                    ),
                    flag(
                        "-v",
                        "--verbose",
                        "Print connections, subscriptions and packets",
                        |s: &mut Typed| {
                            s.verbose = true;
                        },
                    ),
                    flag(
                        "-q",
                        "--quiet",
                        "Print nothing but errors that end the broker",
                        |s: &mut Typed| {
                            s.quiet = true;
                        },
                    ),
                    optional(
                        "--trace",
                        "form",
                        "Print each packet as it goes, decoded; as JSON with --trace=json",
                        |s: &mut Typed, v| {
                            s.trace = Some(Form::parse(v)?);
                            Ok(())
                        },
                    ),
                    flag(
                        "",
                        "--test-config",
                        "Check the configuration file and end",
                        |s: &mut Typed| {
                            s.test_config = true;
                        },
                    ),
                ],
            ),
            ("Help", told_with_short_help()),
        ],
    }
}

/// Runs the program, until SIGINT or SIGTERM.
///
/// # Errors
/// What goes to standard error in one line, with the exit status: 3 for options and configuration,
/// 1 for an address that cannot be listened on.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    let typed = match program().parse(arguments) {
        Ok(Parsed::Run(typed)) => typed,
        Ok(Parsed::Told) => return Ok(Status::Success),
        Err(failure) => {
            return Err(failure.with_status(Status::Configuration));
        }
    };
    let settings = match &typed.config_file {
        Some(path) => {
            Settings::read(path).map_err(|error| Failure::new(Status::Configuration, error))?
        }
        None => Settings::new(),
    };
    if typed.test_config {
        eprintln!("Configuration file is OK.");
        return Ok(Status::Success);
    }
    start_log(&typed);
    let default = [DEFAULT_PORT];
    let ports = if typed.ports.is_empty() {
        &default[..]
    } else {
        &typed.ports
    };
    let mut server = Server::new(settings, ports)
        .context("The broker cannot start; is another one running?")
        .map_err(|error| Failure::new(Status::Failed, error))?;
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
    let mut hang_ups = crate::signal::hang_ups().context("cannot wait for signals")?;
    #[cfg(unix)]
    server
        .reload_on(&mut hang_ups)
        .context("cannot wait for signals")?;
    let name = env!("CARGO_PKG_VERSION");
    log::info!(target: EVENTS, "rbroker version {name} running.");
    server.run().context("the broker has to stop")?;
    log::info!(target: EVENTS, "rbroker version {name} terminating.");
    Ok(Status::Success)
}

fn start_log(typed: &Typed) {
    let level = match (typed.quiet, typed.verbose) {
        (true, _) => LevelFilter::Off,
        (_, true) => LevelFilter::Debug,
        _ => LevelFilter::Info,
    };
    logger::start_for_broker(level);
    log::info!(target: EVENTS, "rbroker version {} starting.", env!("CARGO_PKG_VERSION"));
    match &typed.config_file {
        Some(path) => log::info!(target: EVENTS, "Config loaded from {}.", path.display()),
        None => log::info!(target: EVENTS, "Using default config."),
    }
}
