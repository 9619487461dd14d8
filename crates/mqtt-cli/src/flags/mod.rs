//! The command line: the definitions of the options, the parser, the help and the options files.

pub(crate) mod definition;
pub(crate) mod help;
mod hints;
pub(crate) mod options;
mod options_file;
mod parse_errors;
pub(crate) mod parser;
pub(crate) mod program;
pub(crate) mod settings;
pub(crate) mod values;
