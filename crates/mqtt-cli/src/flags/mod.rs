//! The command line: the definitions of the options, the parser, the help and the options files.
//!
//! - `definition.rs` says what an option is, and `program.rs` what the command line of a program is.
//! - `options/` has the definitions that several programs share. Those of one program are in `commands/`.
//! - `settings/` has the structs that the options fill, and turns them into the options of the client library.
//! - `parser.rs` reads a command line and the options file, with the errors of `parse_errors.rs` and the hints of
//!   `hints.rs`.
//! - `help.rs` prints the options, which `listing.rs` lists; `manual.rs` makes manual pages of them.
//!
//! To add an option, write its definition in `options/` or in the file of its program, add a field to the settings that it
//! changes, and use the field where the settings become a plan. Tests then ask for the new lines in `tests/help/` and for
//! an explanation in `docs/`.

pub(crate) mod definition;
pub(crate) mod help;
mod hints;
mod listing;
pub(crate) mod manual;
pub(crate) mod options;
mod options_file;
mod parse_errors;
pub(crate) mod parser;
pub(crate) mod program;
pub(crate) mod settings;
pub(crate) mod values;
