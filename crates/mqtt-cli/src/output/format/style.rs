//! The parts of printing that a format does not say, and the reasons for which a field is left out.

/// How messages come out, apart from the format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// JSON on several lines.
    pub(crate) pretty: bool,
    /// Control characters are made harmless, and bytes that are no UTF-8 shown as escapes.
    pub(crate) terminal: bool,
}

/// Why something could not be printed. The rest of the message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unprintable {
    /// `%J` of a payload that is no JSON.
    Json,
    /// `%f` of a payload that is not four bytes.
    Float,
    /// `%d` of a payload that is not eight bytes.
    Double,
}
