//! The description of an attack.

use std::path::Path;
use std::time::Duration;

use tests::Kind;

use crate::ground::Ground;

/// The size of the attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Short enough for each change. Checks counts and bytes only.
    Quick,
    /// The table in `docs/generated/siege.md`.
    Full,
    /// Runs as `Full` does, with slow links at their real rate.
    Long,
}

/// The surroundings of a broker that will be attacked.
pub(crate) struct Site<'a> {
    pub(crate) kind: Kind,
    /// An empty folder. The store belongs in its folder `store`.
    pub(crate) folder: &'a Path,
    /// A free port for a second listener.
    pub(crate) second_port: u16,
}

/// An attack, which runs against a broker.
pub(crate) struct Scenario {
    /// The name for `--only`, which is the number in the list of attacks.
    pub(crate) name: &'static str,
    /// The attack in a few words.
    pub(crate) title: &'static str,
    /// Returns the lines of configuration; `None` if the broker lacks the feature.
    pub(crate) settings: fn(&Site<'_>) -> Option<String>,
    /// The memory that the configuration permits in addition to ten times the bytes sent.
    pub(crate) limit: Limit,
    /// The maximum time for the memory to be returned after the attack.
    pub(crate) settle: Duration,
    /// Set if the short form contains the attack.
    pub(crate) is_quick: bool,
    /// Prepares the attack, calls [`Ground::begin`], and attacks.
    pub(crate) attack: fn(&mut Ground),
}

/// Memory that a limit of the configuration permits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// The number of bytes.
    pub(crate) bytes: u64,
    /// The limit, in words.
    pub(crate) reason: &'static str,
}

/// The configuration has no limit that matters.
pub(crate) const NO_LIMIT: Limit = Limit {
    bytes: 0,
    reason: "",
};

/// The time for memory to be returned, if a scenario sets no other time.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);

/// Returns the settings of a broker without a store.
pub(crate) fn in_memory(_: &Site<'_>) -> Option<String> {
    Some(String::new())
}

/// Returns the settings of a broker with a store.
pub(crate) fn persistent(site: &Site<'_>) -> Option<String> {
    let store = site.folder.join("store");
    Some(format!(
        "persistence true\npersistence_location {}/\n",
        store.display()
    ))
}
