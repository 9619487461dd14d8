//! Lists the options of a command line for the help and the manual pages.
//!
//! The entries come from the `clap::Command` that also parses the options, so no option can be missing.

use clap::{Arg, Command};

/// An option or a positional argument.
#[derive(Debug, Clone)]
pub(crate) struct OptionEntry<'a> {
    /// The heading of the group of the option.
    pub(crate) group: &'a str,
    /// The short name without dash.
    pub(crate) short: Option<char>,
    /// The long name without dashes. An entry with neither name is a positional argument.
    pub(crate) long: Option<&'a str>,
    /// The names of the values; empty for an option without value.
    pub(crate) value_names: Vec<&'a str>,
    /// Set if the value may be left out. The value then follows after `=`.
    pub(crate) is_value_optional: bool,
    pub(crate) description: String,
    /// Set for an option that `--help` prints. `--help-all` prints all options.
    pub(crate) is_common: bool,
}

/// Returns the entries of a command line, in the order of their definitions.
pub(crate) fn entries(command: &Command) -> impl Iterator<Item = OptionEntry<'_>> {
    command.get_arguments().map(OptionEntry::new)
}

impl<'a> OptionEntry<'a> {
    fn new(arg: &'a Arg) -> Self {
        let value_names = arg.get_value_names().unwrap_or_default();
        Self {
            // Tests check that every option has a heading and a description.
            group: arg.get_help_heading().unwrap_or_default(),
            short: arg.get_short(),
            long: arg.get_long(),
            value_names: value_names.iter().map(|name| name.as_str()).collect(),
            is_value_optional: arg.is_require_equals_set(),
            description: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            is_common: !arg.is_hide_short_help_set(),
        }
    }

    /// Returns the names with the values, as the help prints them: `-q, --qos <QOS>`.
    pub(crate) fn synopsis(&self) -> String {
        let values: Vec<_> = self
            .value_names
            .iter()
            .map(|name| format!("<{name}>"))
            .collect();
        let values = values.join(" ");
        let names = match (self.short, self.long) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (Some(short), None) => format!("-{short}"),
            // Without a short name the long name is indented, so that all long names are aligned.
            (None, Some(long)) => format!("    --{long}"),
            (None, None) => return values,
        };
        if values.is_empty() {
            names
        } else if self.is_value_optional {
            format!("{names}[={values}]")
        } else {
            format!("{names} {values}")
        }
    }
}
