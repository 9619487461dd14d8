//! [`UserProperties`] and [`SubscriptionIdentifiers`] are the properties that a PUBLISH may have more than once. Both
//! borrow from the encoded properties.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::publish_property::{Property, each};
use super::subscription_identifier::SubscriptionIdentifier;

/// User properties of a message, in the order in which they were sent [MQTT-3.3.2-18].
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    /// The encoded form of all properties of the message.
    block: &'a [u8],
}

/// Identifiers of the subscriptions that match a message, in the order in which they were sent.
#[derive(Clone, Copy)]
pub struct SubscriptionIdentifiers<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// The encoded form of all properties of a PUBLISH. Decoding a packet therefore copies no identifier.
    Block(&'a [u8]),
    /// Identifiers that a server adds to a message for one subscriber.
    List(&'a [SubscriptionIdentifier]),
}

impl<'a> UserProperties<'a> {
    /// Returns the user properties in a block of encoded properties that has been validated.
    pub(crate) fn in_block(block: &'a [u8]) -> Self {
        Self { block }
    }

    /// Returns the names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        each(self.block).filter_map(|property| match property {
            Property::User(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// Returns `true` if the message has no user property.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'a> SubscriptionIdentifiers<'a> {
    /// Returns the identifiers in a list.
    pub fn new(list: &'a [SubscriptionIdentifier]) -> Self {
        Self(Source::List(list))
    }

    /// Returns the identifiers in a block of encoded properties that has been validated.
    pub(crate) fn in_block(block: &'a [u8]) -> Self {
        Self(Source::Block(block))
    }

    /// Returns the identifiers.
    pub fn iter(&self) -> impl Iterator<Item = SubscriptionIdentifier> + use<'a> {
        let block = match self.0 {
            Source::Block(block) => block,
            Source::List(_) => &[][..],
        };
        let decoded = each(block).filter_map(|property| match property {
            Property::SubscriptionIdentifier(identifier) => Some(identifier),
            _ => None,
        });
        decoded.chain(self.listed())
    }

    /// Returns the identifiers of a list. If the identifiers are in a block, the iterator is empty.
    pub(crate) fn listed(&self) -> impl Iterator<Item = SubscriptionIdentifier> + use<'a> {
        let list = match self.0 {
            Source::Block(_) => &[][..],
            Source::List(list) => list,
        };
        list.iter().copied()
    }

    /// Returns `true` if the identifiers are part of a block of encoded properties.
    pub(crate) fn are_in_block(&self) -> bool {
        matches!(self.0, Source::Block(_))
    }

    /// Returns `true` if the message has no subscription identifier.
    pub fn is_empty(&self) -> bool {
        match self.0 {
            // The properties in the block may all be of other kinds.
            Source::Block(_) => self.iter().next().is_none(),
            Source::List(list) => list.is_empty(),
        }
    }
}

impl Default for SubscriptionIdentifiers<'_> {
    fn default() -> Self {
        Self::new(&[])
    }
}

/// Implements comparison, hashing and formatting by elements, because equal elements may come from a block or from a
/// list.
macro_rules! compare_elements {
    ($type:ident) => {
        impl PartialEq for $type<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.iter().eq(other.iter())
            }
        }

        impl Eq for $type<'_> {}

        impl Hash for $type<'_> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.iter().for_each(|element| element.hash(state));
            }
        }

        impl fmt::Debug for $type<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        }
    };
}

compare_elements!(UserProperties);
compare_elements!(SubscriptionIdentifiers);
