//! The definitions of the options that several client programs share, in one file for each subject.

pub(crate) mod auth;
pub(crate) mod debug;
pub(crate) mod host;
pub(crate) mod message;
pub(crate) mod output;
pub(crate) mod properties;
pub(crate) mod selection;
pub(crate) mod session;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod url;
pub(crate) mod will;
