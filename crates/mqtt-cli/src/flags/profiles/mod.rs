//! The sources of settings besides the command line and the options file: profiles and environment variables.
//!
//! A profile is a table of `config.toml`, and `@NAME` on the command line selects it. Its keys are the long names of the
//! options about the connection, so that a user has to learn one set of names. A later source overrides an earlier one:
//! the options file, the variables, the profile, the command line. A profile is named for one command and a variable is
//! set for a whole shell or service, so the profile wins. Variables win over files that apply to all commands.
//!
//! The sources are combined option by option, with two exceptions, so that no broker gets the password of another one:
//!
//! - A profile and the variables each describe a whole connection. They replace everything that the sources before them
//!   say about the broker and the user.
//! - The variables have no effect if the command line names a broker or a profile, or if the program is called by the
//!   name of a mosquitto tool: a script for these tools does not expect them.
//!
//! `config.toml` is only read if a profile is selected, so that other commands start as quickly as without profiles.

mod apply;
mod config_file;
mod environment;
mod selection;

pub(crate) use config_file::names;

use crate::failure::Failure;

/// A source of settings after the options file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The environment variables.
    Environment,
    /// A profile.
    Profile,
    /// The command line.
    CommandLine,
}

/// The functions through which the sources change the settings `S`.
pub(crate) struct SourceEffects<S> {
    /// Called before the options of a source are applied.
    pub(crate) begin: fn(&mut S, Source),
    /// Applies a URL that names a broker, but no topic.
    pub(crate) apply_broker_url: fn(&mut S, &str) -> Result<(), Failure>,
}
