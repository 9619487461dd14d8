//! The command line: the definitions of the options, the parser, the help and the options files.
//!
//! - `definition.rs` defines one option, and `program.rs` the command line of one program.
//! - `options/` has the options that several programs share. The options of one program are in `commands/`.
//! - `settings/` has the structs that the options fill, and turns them into options of the client library.
//! - `parser.rs` parses a command line and the options file, with the errors of `parse_errors.rs` and the hints of
//!   `hints.rs`.
//! - `profiles/` has the other sources of settings: profiles and environment variables.
//! - `help.rs` prints the help and `manual.rs` the manual pages. Both get the options from `listing.rs`.
//!
//! To add an option, write its definition in `options/` or in the file of its program, add a field to the settings that
//! the option changes, and use the field where the settings become a plan. Tests then fail until `tests/help/` has the
//! new lines of the help and `docs/` explains the option.

pub(crate) mod definition;
pub(crate) mod help;
mod hints;
mod listing;
pub(crate) mod manual;
pub(crate) mod options;
mod options_file;
mod parse_errors;
pub(crate) mod parser;
pub(crate) mod profiles;
pub(crate) mod program;
pub(crate) mod settings;
pub(crate) mod values;
