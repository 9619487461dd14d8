//! [`UserProperty`] is a name with a value. The standard does not define its meaning.

/// Name and value whose meaning is defined by the applications.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct UserProperty {
    /// The name. A packet may have several user properties with the same name.
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
