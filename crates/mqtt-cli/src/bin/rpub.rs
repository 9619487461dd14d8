//! The executable `rpub`. The program is [`mqtt_cli::rpub::run`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_cli::main("rpub", mqtt_cli::rpub::run)
}
