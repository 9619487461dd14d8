//! The style of printed messages, and the reasons for which a field of a format is left out.

/// The style of printed messages, which does not depend on the format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Set if JSON is printed on several lines.
    pub(crate) pretty: bool,
    /// Set if the output is a terminal: control characters, with which a publisher could take it over, and bytes that are
    /// not UTF-8 are printed as escapes.
    pub(crate) terminal: bool,
}

/// The reason for which a field was not printed. The other fields of the message are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unprintable {
    /// `%J` of a payload that is not JSON.
    Json,
    /// `%f` of a payload that is not four bytes.
    Float,
    /// `%d` of a payload that is not eight bytes.
    Double,
}
