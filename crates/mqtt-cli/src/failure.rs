//! The failure of a program: an exit status, and the one or two lines that explain why the program did not do its work.

use std::process::ExitCode;

use mqtt_client::session::PrintableLines;

use crate::exit_status::{Class, Status, is_plugin};
use crate::output::logger;
use crate::output::messages::complain;
use crate::output::standard_streams::print;
use crate::plugin_output;
use crate::wording::without_error_numbers;

/// The failure of a program, which decides its exit status.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: Status,
    /// The failed operation and its object.
    pub error: anyhow::Error,
    /// The file and the line of the error, if it is not on the command line.
    place: Option<String>,
    /// Full sentences that say what the user can do. They are printed on a line of their own.
    hint: Option<String>,
    /// Set if the command line is wrong. The hint then names `--help`.
    is_usage: bool,
    /// Set if the line starts with `Error:`. The mosquitto tools print some errors without it, and scripts may match on
    /// the whole line.
    is_marked: bool,
    /// The class, if it is more specific than the class of `status`.
    class: Option<Class>,
    /// The reason that the broker gave.
    reason: Option<Reason>,
    /// The performance data that `--check` prints.
    performance: String,
    /// Set if the failure is not printed, because of `--quiet` or because its text was printed before.
    quiet: bool,
}

/// The reason that a broker gave for a rejection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: u8,
    pub(crate) text: Option<String>,
}

impl Failure {
    /// Creates a failure that is printed.
    pub fn new(status: Status, error: impl Into<anyhow::Error>) -> Self {
        Self {
            status,
            error: error.into(),
            place: None,
            hint: None,
            is_usage: false,
            is_marked: true,
            class: None,
            reason: None,
            performance: String::new(),
            quiet: false,
        }
    }

    /// Creates a failure that the mosquitto tools print without `Error:`.
    pub(crate) fn unmarked(status: Status, message: impl std::fmt::Display) -> Self {
        Self {
            is_marked: false,
            ..Self::new(status, anyhow::anyhow!("{message}"))
        }
    }

    /// Creates a failure for a mistake on the command line or in a file that the command line names. Like the mosquitto
    /// tools, the programs print this failure even with `--quiet`.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self {
            is_usage: true,
            class: Some(Class::Usage),
            ..Self::failed(message)
        }
    }

    /// Creates a failure with status 1 for something that does not exist or does not work.
    pub fn failed(message: impl std::fmt::Display) -> Self {
        Self::new(Status::Failed, anyhow::anyhow!("{message}"))
    }

    /// Adds full sentences that say what the user can do.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Adds a sentence after the hint, if there is one.
    pub(crate) fn with_further_hint(self, sentence: Option<String>) -> Self {
        let parts = self.hint.into_iter().chain(sentence);
        let hint = parts.collect::<Vec<_>>().join(" ");
        Self {
            hint: Some(hint).filter(|hint| !hint.is_empty()),
            ..self
        }
    }

    /// Adds the file and the line of the error.
    pub(crate) fn at(self, place: impl Into<String>) -> Self {
        Self {
            place: Some(place.into()),
            class: Some(Class::Configuration),
            ..self
        }
    }

    /// Sets a class that is more specific than the class of the status.
    pub(crate) fn with_class(self, class: Class) -> Self {
        Self {
            class: Some(class),
            ..self
        }
    }

    /// Adds the reason that the broker gave.
    pub(crate) fn with_reason(self, code: u8, text: Option<&str>) -> Self {
        let text = text.map(str::to_owned);
        Self {
            reason: Some(Reason { code, text }),
            ..self
        }
    }

    /// Adds the performance data that `--check` prints.
    pub(crate) fn with_performance(self, performance: String) -> Self {
        Self {
            performance,
            ..self
        }
    }

    /// Returns the class of the failure.
    pub(crate) fn class(&self) -> Class {
        self.class.unwrap_or_else(|| self.status.class())
    }

    /// Returns the reason that the broker gave.
    pub(crate) fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Returns the exit status of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        self.status.code_of(self.class())
    }

    /// Replaces the status.
    pub(crate) fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// Suppresses the text of the failure if `quiet` is `true`. The exit status stays.
    pub(crate) fn quiet_if(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    /// Prints the failure on one line, and the hint on a second line. Returns the exit status. `name` is the name by
    /// which the program was called.
    pub fn report(self, name: &str) -> ExitCode {
        if is_plugin() {
            // A monitoring system reads one line of standard output, and needs it in any case. An error of the write is
            // ignored, because the exit status reports the same result.
            let texts = [Some(self.message()), self.last_line(name)];
            let text = texts.into_iter().flatten().collect::<Vec<_>>().join(" ");
            let line = plugin_output::line(self.class(), &text, &self.performance);
            let _ = print(&format!("{line}\n"));
        } else if !self.quiet {
            let message = self.message();
            // Both branches write through the thread of standard error, so that the lines keep their order.
            if self.is_marked {
                complain(&message);
            } else {
                logger::print_error(&format!("{}\n", PrintableLines(&message)));
            }
            if let Some(hint) = self.last_line(name) {
                logger::print_error(&format!("{hint}\n"));
            }
        }
        self.exit_code().into()
    }

    /// Returns the text of the error, with its place before the full stop.
    pub(crate) fn message(&self) -> String {
        // The alternate form prints the chain of causes on one line.
        let message = without_error_numbers(&format!("{:#}", self.error));
        // The place belongs to the sentence, so it comes before the full stop.
        match (&self.place, message.strip_suffix('.')) {
            (None, _) => message,
            (Some(place), Some(sentence)) => format!("{sentence} ({place})."),
            (Some(place), None) => format!("{message} ({place})"),
        }
    }

    /// Returns the line below the error, if there is a hint.
    fn last_line(&self, name: &str) -> Option<String> {
        let usage = self
            .is_usage
            .then(|| format!("Use '{name} --help' to see usage."));
        // Hint and usage share one line, so that an error never has more than two lines.
        let parts = self.hint.iter().cloned().chain(usage);
        let line = parts.collect::<Vec<_>>().join(" ");
        (!line.is_empty()).then_some(line)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Status::Failed, error)
    }
}
