//! [`Places`]: the file and line of each directive. Some errors are found after the files were read, such as a missing
//! file or an address that cannot be bound. Their texts must still name the line that the user has to change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A line of a configuration file, which is displayed as `FILE:LINE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<PathBuf>,
    pub(super) line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A directive that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Directive {
    name: &'static str,
    value: String,
    /// The index of the listener to which the directive belongs. `None` for the default listener.
    listener: Option<usize>,
    place: Place,
}

/// The places of all directives of a configuration, in the order in which they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(Vec<Directive>);

impl Places {
    /// Adds a directive.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        value: &str,
        listener: Option<usize>,
        place: Place,
    ) {
        self.0.push(Directive {
            name,
            value: value.to_owned(),
            listener,
            place,
        });
    }

    /// Gives the default listener the index 0, and increments the indexes of the other listeners.
    pub(super) fn put_default_listener_first(&mut self) {
        for directive in &mut self.0 {
            directive.listener = Some(directive.listener.map_or(0, |index| index + 1));
        }
    }

    /// Returns the first of the directives in `names` that the listener has, with its place.
    pub(super) fn first_of(
        &self,
        listener: Option<usize>,
        names: &[&str],
    ) -> Option<(&'static str, Place)> {
        let of_listener = |name: &&str| {
            let mut directives = self.0.iter().rev();
            directives.find(|directive| directive.name == *name && directive.listener == listener)
        };
        let found = names.iter().find_map(of_listener)?;
        Some((found.name, found.place.clone()))
    }

    /// Returns the place of the last directive with this name as `FILE:LINE`.
    pub fn of_directive(&self, name: &str) -> Option<String> {
        // A later directive replaces an earlier one with the same name, so the last one has caused the error.
        let mut directives = self.0.iter().rev();
        let found = directives.find(|directive| directive.name == name)?;
        Some(found.place.to_string())
    }

    /// Returns the place of the last directive whose value is this path as `FILE:LINE`.
    pub fn of_path(&self, path: &Path) -> Option<String> {
        let mut directives = self.0.iter().rev();
        let found = directives.find(|directive| {
            let value = match directive.name {
                "log_dest" => directive.value.strip_prefix("file").map(str::trim_start),
                _ => Some(directive.value.as_str()),
            };
            value.is_some_and(|value| Path::new(value) == path)
        })?;
        Some(found.place.to_string())
    }

    /// Returns the place of the directive that opens the listener with this index as `FILE:LINE`.
    pub fn of_listener(&self, index: usize) -> Option<String> {
        let names = ["listener", "port", "bind_address"];
        let opening = self.first_of(Some(index), &names).map(|(_, place)| place);
        // Without `port` and `bind_address`, the default listener is opened by the first of its directives.
        let any = || {
            let mut directives = self.0.iter();
            let first = directives.find(|directive| directive.listener == Some(index));
            first.map(|directive| directive.place.clone())
        };
        opening.or_else(any).map(|place| place.to_string())
    }
}
