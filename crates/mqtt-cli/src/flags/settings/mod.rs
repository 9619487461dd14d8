//! The settings of the programs. Each file has a struct that the options of `flags/options/` fill. The settings do not
//! depend on these options.

mod client_identifier;
pub(crate) mod connection;
pub(crate) mod message;
pub(crate) mod output;
pub(crate) mod password;
pub(crate) mod properties;
pub(crate) mod transport;
pub(crate) mod will;
