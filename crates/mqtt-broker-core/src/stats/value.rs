//! [`Value`]: a value of the statistics with its name.

/// A value of the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The name, which is the topic below `$SYS/broker/`.
    pub name: String,
    /// The value as text: a number, except for `version`. `uptime` is in seconds.
    pub text: String,
}

/// Returns a value with this name.
pub(crate) fn value(name: &str, text: impl ToString) -> Value {
    Value {
        name: name.to_owned(),
        text: text.to_string(),
    }
}
