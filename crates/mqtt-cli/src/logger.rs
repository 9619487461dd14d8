//! Where the lines of `-d` and of the broker's log go.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::time::SystemTime;

use log::{LevelFilter, Log, Metadata, Record};

/// The stream that lines go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    StandardError,
    StandardOutput,
}

#[derive(Debug)]
struct Logger {
    destination: Destination,
    /// Seconds since 1970 stand before each line, as in mosquitto's log.
    timestamps: bool,
    dim: bool,
}

/// Starts to write the lines of `-d`: to standard error, but where mosquitto's tools write them if
/// the program was called by a name of theirs.
pub(crate) fn start_for_client(arguments: &[OsString]) {
    let destination = match crate::is_called_as_mosquitto(arguments) {
        true => Destination::StandardOutput,
        false => Destination::StandardError,
    };
    start(destination, LevelFilter::Debug, false);
}

/// Starts to write lines up to this level.
pub(crate) fn start(destination: Destination, level: LevelFilter, timestamps: bool) {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let terminal = destination == Destination::StandardError && std::io::stderr().is_terminal();
    let logger = Logger {
        destination,
        timestamps,
        dim: terminal && !timestamps && !no_color,
    };
    // Fails only if there is one already, in tests: its lines are as good.
    if log::set_logger(Box::leak(Box::new(logger))).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mqtt")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = String::new();
        if self.timestamps {
            let seconds = SystemTime::UNIX_EPOCH
                .elapsed()
                .unwrap_or_default()
                .as_secs();
            line = format!("{seconds}: ");
        }
        let text = record.args();
        line += &if self.dim {
            format!("\x1b[2m{text}\x1b[0m\n")
        } else {
            format!("{text}\n")
        };
        // Nobody reads the log any more: no reason to stop.
        let _ = match self.destination {
            Destination::StandardError => std::io::stderr().write_all(line.as_bytes()),
            Destination::StandardOutput => {
                let mut stdout = std::io::stdout().lock();
                stdout
                    .write_all(line.as_bytes())
                    .and_then(|()| stdout.flush())
            }
        };
    }

    fn flush(&self) {}
}
