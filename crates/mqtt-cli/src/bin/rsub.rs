//! `rsub`: see `rsub --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_cli::main("rsub", mqtt_cli::rsub::run)
}
