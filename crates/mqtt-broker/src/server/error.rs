//! Why a server cannot start or go on.

use std::{fmt, io};

use mqtt_transport::TlsSetupError;

use crate::{AccessError, StoreError};

/// Why a server cannot start or go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// It cannot listen at this address.
    Listen(String, io::Error),
    /// The system refused something else.
    Io(io::Error),
    /// A file with passwords or rights cannot be used.
    Access(AccessError),
    /// The store cannot be used: nothing could be promised any more.
    Store(StoreError),
    /// A certificate, or something else of TLS, cannot be used.
    Tls(TlsSetupError),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, _) => write!(f, "cannot listen on {address}"),
            Self::Io(_) => f.write_str("the system refused to go on"),
            Self::Access(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, error) | Self::Io(error) => Some(error),
            Self::Access(error) => std::error::Error::source(error),
            Self::Store(error) => std::error::Error::source(error),
            Self::Tls(error) => std::error::Error::source(error),
        }
    }
}

impl From<AccessError> for ServerError {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl From<StoreError> for ServerError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
