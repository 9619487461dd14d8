//! [`UserProperty`]: a name and a value that the standard gives no meaning.

/// A name and a value that have a meaning for the application only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserProperty {
    /// Its name; the same one may be there more than once.
    pub name: String,
    /// Its value.
    pub value: String,
}
