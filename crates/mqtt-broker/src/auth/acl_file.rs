//! Files of access control lists. Their language is read by the core ([`AccessList::parse`]).

use std::path::Path;

use mqtt_broker_core::AccessList;

use super::{AccessError, AccessFile};

/// Reads an access control list.
///
/// # Errors
/// If the file cannot be read, or a line of it is wrong.
pub(crate) fn read_acl_file(path: &Path) -> Result<AccessList, AccessError> {
    let file = AccessFile::AccessList;
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|error| AccessError::Read(file, path.to_owned(), error))?;
    AccessList::parse(&bytes)
        .map_err(|(line, what)| AccessError::Line(file, path.to_owned(), line, what))
}
