//! [`Definition`]: the name of a directive, and the function that parses its value.

use crate::config::line::Line;

/// An entry of a table of directives. The value of the directive is parsed into the type `T`.
pub(crate) struct Definition<T: 'static> {
    pub(crate) name: &'static str,
    /// Parses the value.
    pub(crate) parse: fn(&Line<'_>) -> Result<T, String>,
    /// Set if the value is everything after the name, because it is a path or a text that may have spaces.
    pub(crate) has_text: bool,
}

/// Returns the entry of a directive whose value is one word.
pub(crate) const fn word<T>(
    name: &'static str,
    parse: fn(&Line<'_>) -> Result<T, String>,
) -> Definition<T> {
    Definition {
        name,
        parse,
        has_text: false,
    }
}

/// Returns the entry of a directive whose value may have spaces.
pub(crate) const fn text<T>(
    name: &'static str,
    parse: fn(&Line<'_>) -> Result<T, String>,
) -> Definition<T> {
    Definition {
        name,
        parse,
        has_text: true,
    }
}
