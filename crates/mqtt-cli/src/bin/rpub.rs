//! `rpub`: see `rpub --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_cli::main("rpub", mqtt_cli::rpub::run)
}
