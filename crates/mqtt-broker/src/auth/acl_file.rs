//! Reads ACL files. [`AccessList::parse`], in the core, parses their content.

use crate::auth::error::AccessError;
use crate::auth::error::AccessFile;
use mqtt_broker_core::AccessList;
use std::path::Path;

/// Reads an ACL file.
///
/// # Errors
/// Returns an error if the file cannot be read, or one of its lines is invalid.
pub(crate) fn read_acl_file(path: &Path) -> Result<AccessList, AccessError> {
    let file = AccessFile::AccessList;
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|error| AccessError::Read(file, path.to_owned(), error))?;
    AccessList::parse(&bytes)
        .map_err(|(line, what)| AccessError::Line(file, path.to_owned(), line, what))
}
