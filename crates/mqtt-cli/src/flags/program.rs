//! The command line of one program: its options in groups, and the help around them.

use clap::Command;

use crate::flags::definition::{CommandOption, OptionGroup};
use crate::flags::help::Help;

/// The command line of a program with the settings `S`.
pub(crate) struct Program<S> {
    /// The name of the program, for error messages and the names of options files.
    pub(crate) name: &'static str,
    pub(crate) help: Help,
    /// Called after the options file was applied and before the arguments are. `None` if the program reads no such file.
    pub(crate) after_options_file: Option<fn(&mut S)>,
    /// The options, in the order of the help.
    pub(crate) options: Vec<OptionGroup<S>>,
}

impl<S> Program<S> {
    /// Returns the command line as clap needs it, also for the help. clap's own `--help` and `--version` are replaced:
    /// `-h` is a host in the client programs, and the layout of the help is that of `help.rs`.
    pub(crate) fn command(&self) -> Command {
        let options = self
            .options
            .iter()
            .flat_map(|(heading, options)| options.iter().map(move |option| option.arg(heading)));
        Command::new(self.name)
            .version(env!("CARGO_PKG_VERSION"))
            .disable_help_flag(true)
            .disable_version_flag(true)
            // An option may be repeated, and options of the file may be given again: the last one wins.
            .args_override_self(true)
            // A line of an options file has no name of a program before it.
            .no_binary_name(true)
            .args(options)
    }

    /// Returns the options of all groups.
    pub(super) fn all(&self) -> impl Iterator<Item = &CommandOption<S>> {
        self.options.iter().flat_map(|(_, options)| options)
    }
}
