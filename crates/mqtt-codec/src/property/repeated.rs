//! Properties that a PUBLISH may have more than once, borrowed.

use std::fmt;

use super::publish_property::{Property, each};
use super::subscription_identifier::SubscriptionIdentifier;
use super::user_property::UserProperty;

/// Values of a property that may be repeated, borrowed: from the bytes they came in, or from a list.
pub struct Repeated<'a, T>(Source<'a, T>);

/// The user properties of a message.
pub type UserProperties<'a> = Repeated<'a, UserProperty>;

/// The identifiers of the subscriptions that a message was sent for.
pub type SubscriptionIdentifiers<'a> = Repeated<'a, SubscriptionIdentifier>;

enum Source<'a, T> {
    /// All properties of the PUBLISH; they were read once and are valid.
    Wire(&'a [u8]),
    List(&'a [T]),
}

/// A property that may be repeated. The bound lets Rust 1.85 prove that borrowed values outlive no element.
pub trait Element: Sized + 'static {
    /// One value, borrowed.
    type Item<'a>: PartialEq + fmt::Debug
    where
        Self: 'a;

    #[doc(hidden)]
    fn of_property(property: Property<'_>) -> Option<Self::Item<'_>>;

    #[doc(hidden)]
    fn item(&self) -> Self::Item<'_>;
}

impl Element for UserProperty {
    type Item<'a> = (&'a str, &'a str);

    fn of_property(property: Property<'_>) -> Option<Self::Item<'_>> {
        match property {
            Property::User(name, value) => Some((name, value)),
            _ => None,
        }
    }

    fn item(&self) -> Self::Item<'_> {
        (&self.name, &self.value)
    }
}

impl Element for SubscriptionIdentifier {
    type Item<'a> = Self;

    fn of_property(property: Property<'_>) -> Option<Self> {
        match property {
            Property::SubscriptionIdentifier(identifier) => Some(identifier),
            _ => None,
        }
    }

    fn item(&self) -> Self {
        *self
    }
}

impl<'a, T: Element> Repeated<'a, T> {
    /// Those of a list.
    pub fn new(list: &'a [T]) -> Self {
        Self(Source::List(list))
    }

    /// Those in the properties of a PUBLISH, which are valid.
    pub(crate) fn in_block(all: &'a [u8]) -> Self {
        Self(Source::Wire(all))
    }

    /// In the order in which they were sent [MQTT-3.3.2-18].
    pub fn iter(&self) -> impl Iterator<Item = T::Item<'a>> + use<'a, T> {
        let (wire, list) = match self.0 {
            Source::Wire(all) => (all, &[][..]),
            Source::List(list) => (&[][..], list),
        };
        each(wire)
            .filter_map(T::of_property)
            .chain(list.iter().map(T::item))
    }

    /// Those of a list; none of those in the properties of a packet.
    pub(crate) fn listed(&self) -> impl Iterator<Item = T::Item<'a>> + use<'a, T> {
        let list = match self.0 {
            Source::Wire(_) => &[][..],
            Source::List(list) => list,
        };
        list.iter().map(T::item)
    }

    /// Returns `true` if they are those in the properties of a packet.
    pub(crate) fn are_of_packet(&self) -> bool {
        matches!(self.0, Source::Wire(_))
    }

    /// Returns `true` if there are no properties.
    pub fn is_empty(&self) -> bool {
        match self.0 {
            Source::Wire(_) => self.iter().next().is_none(),
            Source::List(list) => list.is_empty(),
        }
    }
}

impl<T> Clone for Repeated<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Repeated<'_, T> {}

impl<T> Clone for Source<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Source<'_, T> {}

impl<T: Element> Default for Repeated<'_, T> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<T: Element> PartialEq for Repeated<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Element> Eq for Repeated<'_, T> {}

impl<T: Element> fmt::Debug for Repeated<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
