//! `rpub`, `rsub`, `rrr` and `rbroker`: what is typed, what it means, and how it ends.
//!
//! For each program there are `Settings`, what was typed, and a `Plan`, what will be done: all that
//! can fail without the network fails between the two. The programs are functions here, so that
//! tests can call them.
#![forbid(unsafe_code)]

mod commands;
mod diagnostics;
mod exit_status;
mod failure;
mod flags;
mod output;
mod program_name;
mod wording;

use std::ffi::OsString;
use std::process::ExitCode;

pub use commands::{rbroker, rpub, rrr, rsub};
pub use exit_status::Status;
pub use failure::Failure;

/// Runs one of the programs: its errors go to standard error in one line, its status to the shell.
pub fn main(run: fn(&[OsString]) -> Result<Status, Failure>) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let code = match run(&arguments) {
        Ok(status) => status.into(),
        Err(failure) => failure.report(&program_name::called_name(&arguments)),
    };
    output::logger::finish();
    code
}
