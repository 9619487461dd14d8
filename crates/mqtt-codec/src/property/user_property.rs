//! [`UserProperty`]: a name and a value that the standard gives no meaning.

/// A name and a value whose meaning the applications define.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct UserProperty {
    /// The name, which may occur more than once in a packet.
    pub name: String,
    /// The value.
    pub value: String,
}

impl<N: Into<String>, V: Into<String>> From<(N, V)> for UserProperty {
    fn from((name, value): (N, V)) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}
