//! Reads the file of `--password-file`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use crate::exit_status::Class;
use crate::failure::Failure;
use crate::flags::options_file::others_can_read;
use crate::output::messages::warn;
use crate::wording::system_text;

/// Maximum length of a password, which is that of binary data in MQTT.
const MAXIMUM_PASSWORD: u64 = 65535;

/// Returns the content of the file without the line end after it.
///
/// # Errors
/// If the file cannot be read. The encoder of CONNECT rejects a password that is too long.
pub(super) fn read_password(path: &Path) -> Result<Bytes, Failure> {
    let fail = |error: std::io::Error| {
        let (path, text) = (path.display(), system_text(&error));
        Failure::usage(format!(
            "Unable to read password file '{path}': {text} (option --password-file)."
        ))
        .with_class(Class::NoInput)
    };
    let mut password = Vec::new();
    let file = File::open(path).map_err(fail)?;
    // This is a warning and not an error, because in a container every user may have access to all files.
    if file.metadata().is_ok_and(|data| others_can_read(&data)) {
        let path = path.display();
        warn(&format!(
            "Password file '{path}' can be read by every user of this machine (chmod o-r changes that)."
        ));
    }
    // Two more bytes are read for the line end after the longest password.
    let mut file = file.take(MAXIMUM_PASSWORD + 2);
    file.read_to_end(&mut password).map_err(fail)?;
    // Editors add a line end, which is not a part of the password.
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    Ok(password.into())
}
