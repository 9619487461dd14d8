//! The command line: the definitions of the options, the parser, the help and the options files.

pub(crate) mod help;
mod hints;
pub(crate) mod options;
mod options_file;
pub(crate) mod parser;
