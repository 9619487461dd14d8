//! [`ServerError`]: the reasons why a server cannot start or continue, with the texts that the program prints.

use crate::auth::error::AccessError;
use crate::config::places::Places;
use crate::store::error::StoreError;
use mqtt_transport::{TlsSetupError, reason};
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// The reason why a server cannot start or continue.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// A listener cannot be opened.
    Listen(ListenError),
    /// A request to the operating system has failed, for a reason that no other variant names.
    Io(io::Error),
    /// A password file or an ACL file cannot be used.
    Access(AccessError),
    /// The store cannot be used. The server ends, because it could not acknowledge messages any more.
    Store(StoreError),
    /// The store in this file is corrupt, or is not an rbroker store.
    CorruptStore(PathBuf, &'static str),
    /// A certificate, a key or another file of TLS cannot be used.
    Tls(TlsSetupError),
}

/// The reason why a listener cannot be opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct ListenError {
    /// The address with its port, the host that was looked up, or the path of the Unix socket.
    pub address: String,
    /// Set if the look-up of the host name failed.
    pub is_look_up: bool,
    /// The error of the system.
    pub error: io::Error,
    /// The place of the directive as `FILE:LINE`, if the listener is in the configuration.
    pub place: Option<String>,
}

impl ListenError {
    pub(crate) fn new(address: impl fmt::Display, error: io::Error) -> Self {
        Self {
            address: address.to_string(),
            is_look_up: false,
            error,
            place: None,
        }
    }

    pub(crate) fn look_up(host: &str, error: io::Error) -> Self {
        Self {
            is_look_up: true,
            ..Self::new(host, error)
        }
    }

    /// Returns the error with the place of the directive.
    pub(crate) fn at(self, place: Option<String>) -> Self {
        Self { place, ..self }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, reason) = (&self.address, reason(&self.error));
        if self.is_look_up {
            // The text of the standard library begins with the name of the function that failed.
            let reason = reason.rsplit(": ").next().unwrap_or_default();
            write!(
                f,
                "cannot listen on '{address}': cannot find the address of this host: {reason}"
            )
        } else {
            write!(f, "cannot listen on {address}: {reason}")
        }
    }
}

impl std::error::Error for ListenError {}

impl ServerError {
    /// Returns the place of the directive that causes the error as `FILE:LINE`, if the configuration has such a
    /// directive.
    pub fn place(&self, places: &Places) -> Option<String> {
        let of_path = |path: &Path| places.of_path(path);
        match self {
            Self::Listen(error) => error.place.clone(),
            Self::Access(AccessError::Read(_, path, _) | AccessError::Line(_, path, ..)) => {
                of_path(path)
            }
            Self::Tls(error) => error.path().and_then(of_path),
            Self::Store(StoreError::Open(..)) | Self::CorruptStore(..) => {
                // The store is in the folder of `persistence_location`, or in the current folder without this
                // directive.
                let location = places.of_directive("persistence_location");
                location.or_else(|| places.of_directive("persistence"))
            }
            Self::Store(_) | Self::Io(_) => None,
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::Io(error) => write!(
                f,
                "a request to the operating system failed: {}",
                reason(error)
            ),
            Self::Access(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::CorruptStore(path, what) => {
                let path = path.display();
                write!(
                    f,
                    "the store '{path}' is corrupt or is not an rbroker store: {what}"
                )
            }
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServerError {}

impl From<ListenError> for ServerError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
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
