//! The settings that options add up to. Each part has a struct, which the options of `flags/options/` fill, and which
//! knows nothing of them.

mod client_identifier;
pub(crate) mod connection;
pub(crate) mod message;
pub(crate) mod output;
mod password_file;
pub(crate) mod properties;
pub(crate) mod transport;
pub(crate) mod will;
