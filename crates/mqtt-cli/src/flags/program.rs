//! The command line of one program: its options in groups, and the help around them.

use clap::Command;

use crate::flags::definition::{CommandOption, OptionGroup};
use crate::flags::help::Help;
use crate::flags::profiles::SourceEffects;

/// The command line of a program with the settings `S`.
pub(crate) struct Program<S> {
    /// The name of the program, for error messages and for the names of options files.
    pub(crate) name: &'static str,
    pub(crate) help: Help,
    /// The effects of options file, profile and environment variables. `None` if the program has only its command line.
    pub(crate) sources: Option<SourceEffects<S>>,
    /// The options, in the order of the help.
    pub(crate) options: Vec<OptionGroup<S>>,
}

impl<S> Program<S> {
    /// Returns the command line for clap. The help uses it, too. clap's own `--help` and `--version` are turned off:
    /// `-h` is a host in the client programs, and `help.rs` has its own layout.
    pub(crate) fn command(&self) -> Command {
        let options = self
            .options
            .iter()
            .flat_map(|(heading, options)| options.iter().map(move |option| option.arg(heading)));
        Command::new(self.name)
            .version(env!("CARGO_PKG_VERSION"))
            .disable_help_flag(true)
            .disable_version_flag(true)
            // An option may be repeated, and the command line may repeat an option of the file. The last one applies.
            .args_override_self(true)
            // The words of a line of the options file do not begin with a program name.
            .no_binary_name(true)
            .args(options)
    }

    /// Returns the options of all groups.
    pub(super) fn all(&self) -> impl Iterator<Item = &CommandOption<S>> {
        self.options.iter().flat_map(|(_, options)| options)
    }
}
