//! The executable `rrr`. The program is [`mqtt_cli::rrr::run`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_cli::main("rrr", mqtt_cli::rrr::run)
}
