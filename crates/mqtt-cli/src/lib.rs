//! `rpub`, `rsub`, `rrr` and `rbroker`: what is typed, what it means, and how it ends.
//!
//! For each program there are `Settings`, what was typed, and a `Plan`, what will be done: all that
//! can fail without the network fails between the two. The programs are functions here, so that
//! tests can call them.
#![forbid(unsafe_code)]

mod arguments;
mod client;
mod exit;
mod format;
mod help;
mod hints;
mod input;
mod logger;
mod options;
mod options_file;
mod outbox;
mod outcome;
mod packet_fields;
mod printer;
mod progress;
mod publisher;
pub mod rbroker;
mod requests;
pub mod rpub;
pub mod rrr;
pub mod rsub;
mod signal;
mod sink;
mod standard;
mod subscriber;
mod trace;
mod watch;
mod writer;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

pub use exit::{Failure, Status};

/// Runs one of the programs: its errors go to standard error in one line, its status to the shell.
pub fn main(run: fn(&[OsString]) -> Result<Status, Failure>) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let code = match run(&arguments) {
        Ok(status) => status.into(),
        Err(failure) => failure.report(&called_name(&arguments)),
    };
    logger::finish();
    code
}

/// The name a program was called by, without folder and extension.
pub(crate) fn called_name(arguments: &[OsString]) -> String {
    let name = arguments
        .first()
        .and_then(|name| Path::new(name).file_stem());
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Whether it was called by a name of mosquitto's, through a link: then `-d` writes where theirs do.
pub(crate) fn is_called_as_mosquitto(arguments: &[OsString]) -> bool {
    called_name(arguments).starts_with("mosquitto_")
}
