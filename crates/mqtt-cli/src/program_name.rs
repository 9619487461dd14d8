//! The name that a program was called by, which decides about options files and about the lines of `-d`.

use std::ffi::OsString;
use std::path::Path;

/// The name a program was called by, without folder and extension.
pub(crate) fn called_name(arguments: &[OsString]) -> String {
    let name = arguments
        .first()
        .and_then(|name| Path::new(name).file_stem());
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Whether it was called by a name of mosquitto's, through a link: then `-d` writes where theirs do.
pub(crate) fn is_called_as_mosquitto(arguments: &[OsString]) -> bool {
    called_name(arguments).starts_with("mosquitto_")
}
