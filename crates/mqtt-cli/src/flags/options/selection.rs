//! The options of rsub that print only some messages of each topic: `--on-change` and `--every`.

use std::time::Duration;

use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::values::{number, period, text};
use crate::output::selection::{Comparison, JsonPath, Rules};
use crate::wording::shown;

/// The settings of the selection.
#[derive(Debug, Default)]
pub(crate) struct SelectionSettings {
    on_change: bool,
    path: Option<JsonPath>,
    tolerance: Option<f64>,
    every: Option<Duration>,
}

impl SelectionSettings {
    /// Returns the rules, or `None` if all messages are printed.
    ///
    /// # Errors
    /// If an option that changes the comparison is given without `--on-change`.
    pub(crate) fn rules(self) -> Result<Option<Rules>, Failure> {
        let without = [
            ("--json", self.path.is_some()),
            ("--tolerance", self.tolerance.is_some()),
        ];
        let without = without.into_iter().find(|(_, is_given)| *is_given);
        if let (Some((option, _)), false) = (without, self.on_change) {
            return Err(Failure::usage(format!("{option} needs --on-change.")));
        }
        let comparison = self.on_change.then_some(Comparison {
            path: self.path,
            tolerance: self.tolerance,
        });
        let rules = Rules {
            comparison,
            period: self.every,
        };
        Ok((rules.comparison.is_some() || rules.period.is_some()).then_some(rules))
    }
}

/// Returns the options of the selection.
pub(crate) fn selection_options<S: AsMut<SelectionSettings>>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "",
            "--on-change",
            "Print a message only if its payload differs from the one last printed for its topic",
            |s: &mut S| {
                s.as_mut().on_change = true;
            },
        ),
        value(
            "",
            "--json",
            "path",
            "With --on-change: compare only this value of a JSON payload, such as a.b.0 or /a/b/0",
            |s: &mut S, v| {
                let invalid = || {
                    Failure::usage(format!("Invalid path given for --json: '{}'", shown(v)))
                        .with_hint(
                            "Write names with dots between them (a.b.0) or a JSON Pointer (/a/b/0). --jsonl prints messages as JSON.",
                        )
                };
                let path = JsonPath::parse(text(v, "--json")?);
                s.as_mut().path = Some(path.ok_or_else(invalid)?);
                Ok(())
            },
        ),
        value(
            "",
            "--tolerance",
            "difference",
            "With --on-change: print a number only if it differs by more than this from the one last printed",
            |s: &mut S, v| {
                let invalid = || {
                    Failure::usage(format!("Invalid value given for --tolerance: {}", shown(v)))
                        .with_hint("The value must be a number of at least 0.")
                };
                let tolerance = number(v).filter(|x: &f64| x.is_finite() && *x >= 0.0);
                s.as_mut().tolerance = Some(tolerance.ok_or_else(invalid)?);
                Ok(())
            },
        ),
        value(
            "",
            "--every",
            "duration",
            "Print at most one message of each topic in this time: the first one immediately, then the newest one at the end of each period",
            |s: &mut S, v| {
                s.as_mut().every = Some(period(v, "--every")?);
                Ok(())
            },
        )
        .with_value_name("TIME"),
    ]
}
