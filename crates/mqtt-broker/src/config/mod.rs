//! The configuration of the broker, in the format of `mosquitto.conf`: each line is a directive with its value, and a
//! line that begins with `#` is a comment.
//!
//! `model.rs` has the types of the configuration. `load.rs` reads a configuration in three steps, and `directives/` has
//! the directives by subject. `unsupported.rs` has the directives of mosquitto that rbroker does not support. Such a
//! directive is an error and not a warning, because a directive that is ignored could be one that protects the broker.

mod closest_name;
mod directives;
pub(crate) mod error;
#[cfg(test)]
mod error_tests;
mod line;
mod load;
pub(crate) mod model;
mod parser;
pub(crate) mod places;
mod settings;
#[cfg(test)]
mod tests;
mod unsupported;
#[cfg(test)]
mod value_tests;

pub use closest_name::closest_name;
pub use error::ConfigError;
pub use model::{
    BrokerConfig, ControlSocket, ListenerConfig, LogConfig, LogDestination, LogTypes,
    SecurityConfig,
};
pub use places::Places;
