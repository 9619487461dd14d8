//! The command line of one program: its options in groups, and the help around them.

use clap::Command;

use crate::flags::definition::{CommandOption, OptionGroup};
use crate::flags::help::Help;

/// A program, as far as its command line goes.
pub(crate) struct Program<S> {
    pub(crate) name: &'static str,
    pub(crate) help: Help,
    /// What is done to the settings after its options file, if it reads one.
    pub(crate) after_options_file: Option<fn(&mut S)>,
    /// Under their headings.
    pub(crate) options: Vec<OptionGroup<S>>,
}

impl<S> Program<S> {
    pub(crate) fn command(&self) -> Command {
        let options = self
            .options
            .iter()
            .flat_map(|(heading, options)| options.iter().map(move |option| option.arg(heading)));
        Command::new(self.name)
            .version(env!("CARGO_PKG_VERSION"))
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
            .no_binary_name(true)
            .args(options)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &CommandOption<S>> {
        self.options.iter().flat_map(|(_, options)| options)
    }
}
