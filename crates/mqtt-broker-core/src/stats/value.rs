//! [`Value`]: a value of the statistics with its name.

/// A value and its name, which is the topic below `$SYS/broker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Levels, with slashes between them.
    pub name: String,
    /// A number, except for `version`. `uptime` is in seconds.
    pub text: String,
}

pub(crate) fn value(name: &str, text: impl ToString) -> Value {
    Value {
        name: name.to_owned(),
        text: text.to_string(),
    }
}
