//! The name by which a program was called. This name chooses the options file and the stream of the lines of `-d`.

use std::ffi::OsString;
use std::path::Path;

/// Returns the name by which a program was called, without folder and extension.
pub(crate) fn called_name(arguments: &[OsString]) -> String {
    // `file_stem` removes the `.exe` of Windows.
    let name = arguments
        .first()
        .and_then(|name| Path::new(name).file_stem());
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Returns `true` if the program was called by the name of a mosquitto tool, through a link. Scripts then expect the
/// lines of `-d` on the stream on which that tool writes them.
pub(crate) fn is_called_as_mosquitto(arguments: &[OsString]) -> bool {
    called_name(arguments).starts_with("mosquitto_")
}
