//! The style of printed messages, and the reasons why a field of a format is left out.

/// The style of printed messages. It applies to every format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Set if JSON is printed on several lines.
    pub(crate) pretty: bool,
    /// Set if the output is a terminal. Control characters, with which a publisher could control the terminal, and
    /// bytes that are not UTF-8 are then printed as escapes.
    pub(crate) terminal: bool,
}

/// The reason why a field was not printed. The other fields of the message are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unprintable {
    /// `%J` of a payload that is not JSON.
    Json,
    /// `%f` of a payload that is not four bytes.
    Float,
    /// `%d` of a payload that is not eight bytes.
    Double,
}
