//! Files of access control lists. Their language is read by the core ([`AccessList::parse`]).

use std::path::Path;

use mqtt_broker_core::AccessList;

use super::AccessError;

/// Reads an access control list.
///
/// # Errors
/// If the file cannot be read, or a line of it is wrong.
pub(crate) fn read_acl_file(path: &Path) -> Result<AccessList, AccessError> {
    let bytes = std::fs::read(path).map_err(|e| AccessError::Read(path.to_owned(), e))?;
    AccessList::parse(&bytes)
        .map_err(|(line, what)| AccessError::Line(path.to_owned(), line, what.to_owned()))
}
