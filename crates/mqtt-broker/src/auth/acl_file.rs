//! Reads ACL files. [`AccessList::parse`], in the core, parses their content.

use std::path::Path;

use mqtt_broker_core::AccessList;

use super::{AccessError, AccessFile};

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
