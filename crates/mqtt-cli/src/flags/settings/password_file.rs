//! `--password-file`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use crate::failure::Failure;
use crate::flags::options_file::others_can_read;
use crate::output::messages::warn;
use crate::wording::system_text;

/// A password is not longer.
const MAXIMUM_PASSWORD: u64 = 65535;

pub(super) fn read_password(path: &Path) -> Result<Bytes, Failure> {
    let fail = |error: std::io::Error| {
        let (path, text) = (path.display(), system_text(&error));
        Failure::usage(format!(
            "Unable to read password file '{path}': {text} (option --password-file)."
        ))
    };
    let mut password = Vec::new();
    let file = File::open(path).map_err(fail)?;
    if file.metadata().is_ok_and(|data| others_can_read(&data)) {
        let path = path.display();
        warn(&format!(
            "Password file '{path}' can be read by every user of this machine (chmod o-r changes that)."
        ));
    }
    let mut file = file.take(MAXIMUM_PASSWORD + 2);
    file.read_to_end(&mut password).map_err(fail)?;
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    Ok(password.into())
}
