//! The programs `rpub`, `rsub`, `rrr` and `rbroker`, as functions that tests can call.
//!
//! A program has four stages. Its options (`flags/`) are parsed into settings. The settings become a plan: every error
//! that needs no network is found here. The plan is carried out (`commands/`) and writes messages and diagnostics
//! (`output/`, `diagnostics.rs`). The result is an exit status, or a failure with one (`exit_status.rs`, `failure.rs`).
//!
//! Dependencies go one way: `commands` uses `diagnostics` and `flags`, and these use `output` and `failure`. So the output
//! does not know which option asked for it.
#![forbid(unsafe_code)]
#![warn(clippy::match_bool)]

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

use commands::documentation;
pub use commands::{rbroker, rpub, rrr, rsub};
pub use exit_status::Status;
pub use failure::Failure;

/// Runs the program of this name. Returns its exit status, and prints a failure to standard error.
pub fn main(program: &str, run: fn(&[OsString]) -> Result<Status, Failure>) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    // Manual pages and completions know the options of all programs, so no program asks for its own.
    let documentation = documentation::answer(program, &arguments);
    let result = documentation.unwrap_or_else(|| run(&arguments));
    let code = match result {
        Ok(status) => status.into(),
        Err(failure) => failure.report(&program_name::called_name(&arguments)),
    };
    // The lines are written by threads, which end with the process.
    output::logger::finish();
    code
}
