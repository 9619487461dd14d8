//! The directives that rbroker supports, by subject. Each file has a type with a variant for each directive, the table of
//! their names with the functions that parse their values, and the method that applies a directive to the settings.

pub(super) mod definition;
pub(super) mod limits;
pub(super) mod listener;
pub(super) mod log;
pub(super) mod process;
pub(super) mod security;
pub(super) mod table;
pub(super) mod tls;
