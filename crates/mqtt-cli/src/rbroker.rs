//! `rbroker`: the broker, with mosquitto's options and configuration language.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgAction, Parser};
use log::LevelFilter;
use mqtt_broker::{EVENTS, Server, Settings};

use crate::arguments::{self, Parsed};
use crate::exit::{Failure, Status};
use crate::logger::{self, Destination};
use crate::signal::Interrupts;

const DEFAULT_PORT: u16 = 1883;

/// A small MQTT broker. Without a configuration only programs on this machine can connect.
///
/// Sessions and messages are kept in memory: they survive a client that goes away, not the end of
/// the broker.
#[derive(Debug, Parser)]
#[command(
    name = "rbroker",
    version,
    disable_help_flag = true,
    disable_version_flag = true
)]
struct Args {
    /// Configuration file, in the language of mosquitto.conf
    #[arg(short, long, value_name = "FILE")]
    config_file: Option<PathBuf>,

    /// Port to listen on, if the configuration has no listener; 0 takes a free one; may be repeated
    #[arg(short, long, value_name = "PORT", value_parser = port, allow_hyphen_values = true, action = ArgAction::Append)]
    port: Vec<u16>,

    /// Print connections, subscriptions and packets
    #[arg(short, long)]
    verbose: bool,

    /// Print nothing but errors that end the broker
    #[arg(short, long)]
    quiet: bool,

    /// Check the configuration file and end
    #[arg(long)]
    test_config: bool,

    /// Print help
    #[arg(short = 'h', long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Print version
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// Runs the program, until SIGINT or SIGTERM.
///
/// # Errors
/// What goes to standard error in one line, with the exit status: 3 for options and configuration,
/// 1 for an address that cannot be listened on.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    let args: Args = match arguments::parse("rbroker", arguments) {
        Ok(Parsed::Run(args)) => args,
        Ok(Parsed::Told) => return Ok(Status::Success),
        Err(failure) => {
            return Err(Failure {
                status: Status::Configuration,
                ..failure
            });
        }
    };
    let settings = match &args.config_file {
        Some(path) => {
            Settings::read(path).map_err(|error| Failure::new(Status::Configuration, error))?
        }
        None => Settings::new(),
    };
    if args.test_config {
        eprintln!("Configuration file is OK.");
        return Ok(Status::Success);
    }
    start_log(&args);
    let default = [DEFAULT_PORT];
    let ports = if args.port.is_empty() {
        &default[..]
    } else {
        &args.port
    };
    let mut server = Server::new(settings, ports)
        .context("The broker cannot start; is another one running?")
        .map_err(|error| Failure::new(Status::Failed, error))?;
    #[allow(unused_mut, unused_variables)] // only Unix has a source
    let mut interrupts = Interrupts::listen().context("cannot wait for signals")?;
    #[cfg(unix)]
    server
        .stop_on(&mut interrupts.source)
        .context("cannot wait for signals")?;
    let name = env!("CARGO_PKG_VERSION");
    log::info!(target: EVENTS, "rbroker version {name} running.");
    server.run().context("the broker has to stop")?;
    log::info!(target: EVENTS, "rbroker version {name} terminating.");
    Ok(Status::Success)
}

fn start_log(args: &Args) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::Off,
        (_, true) => LevelFilter::Debug,
        _ => LevelFilter::Info,
    };
    logger::start(Destination::StandardError, level, true);
    log::info!(target: EVENTS, "rbroker version {} starting.", env!("CARGO_PKG_VERSION"));
    match &args.config_file {
        Some(path) => log::info!(target: EVENTS, "Config loaded from {}.", path.display()),
        None => log::info!(target: EVENTS, "Using default config."),
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "Invalid port specified".to_owned())
}
