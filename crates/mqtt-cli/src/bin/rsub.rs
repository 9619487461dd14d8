//! The executable `rsub`. The program is [`mqtt_cli::rsub::run`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_cli::main("rsub", mqtt_cli::rsub::run)
}
