//! The program `rbroker`: the broker, with mosquitto's options and configuration language, and the subcommands `passwd`
//! and `status`, on Windows also `service`.

mod control_socket;
pub(crate) mod passwd;
mod serve;
#[cfg(windows)]
mod service;
pub(crate) mod status;
mod subcommand;

pub(crate) use serve::program;

use std::ffi::OsString;

use crate::exit_status::Status;
use crate::failure::Failure;

/// Runs the program. The broker serves until SIGINT or SIGTERM.
///
/// # Errors
/// The failure that `main` prints to standard error, with its exit status.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    if let Some((word, rest)) = arguments.get(1..).and_then(<[_]>::split_first) {
        match word.to_str() {
            Some("passwd") => return passwd::run(rest),
            Some("status") => return status::run(rest),
            #[cfg(windows)]
            Some("service") => return service::run(rest),
            _ => {}
        }
    }
    serve::run(arguments)
}
