//! The programs `rpub`, `rsub`, `rrr` and `rbroker`, as functions that tests can call.
//!
//! A program has four stages. The command line becomes settings (`flags/`). The settings become a plan; this stage
//! finds every error that can be found without a network. A loop carries out the plan (`commands/`) and writes messages
//! and diagnostics (`output/`, `diagnostics/`). The result is an exit status, or a failure with an exit status
//! (`exit_status.rs`, `failure.rs`).
//!
//! Dependencies go one way: `commands` uses `diagnostics` and `flags`, and these two use `output` and `failure`. So
//! `output` does not depend on the options.
#![forbid(unsafe_code)]

mod commands;
mod diagnostics;
mod exit_status;
mod failure;
mod flags;
mod jsonl;
mod output;
mod password_prompt;
mod plugin_output;
mod program_name;
mod wording;

use std::ffi::OsString;
use std::process::ExitCode;

use commands::documentation;
pub use commands::{rbroker, rpub, rrr, rsub};
pub use exit_status::Status;
pub use failure::Failure;

/// Runs a program. `program` is its name, which the manual page and the completions need. Returns the exit status, and
/// prints a failure to standard error.
pub fn main(program: &str, run: fn(&[OsString]) -> Result<Status, Failure>) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    // `PROGRAM man` and `PROGRAM completions` are answered here, because these texts need the options of all programs.
    let documentation = documentation::answer(program, &arguments);
    let result = documentation.unwrap_or_else(|| run(&arguments));
    // From here on the deadline of -W does not report an end of its own.
    commands::finish(match &result {
        Ok(status) => status.exit_code(),
        Err(failure) => failure.exit_code(),
    });
    let code = match result {
        Ok(status) => status.into(),
        Err(failure) => failure.report(&program_name::called_name(&arguments)),
    };
    // Threads write the lines, and the end of `main` would end these threads before they have written the last lines.
    output::logger::finish();
    code
}
