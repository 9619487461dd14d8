//! Places of directives: the errors that are found after the files were read, such as a missing file or an address that
//! cannot be opened, name the line that is to be changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A line of a configuration file.
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
    /// The index of its listener; `None` for the default listener.
    listener: Option<usize>,
    place: Place,
}

/// All directives of a configuration with their places, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(Vec<Directive>);

impl Places {
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

    /// Gives the default listener the index 0, in front of the others.
    pub(super) fn put_default_listener_first(&mut self) {
        for directive in &mut self.0 {
            directive.listener = Some(directive.listener.map_or(0, |index| index + 1));
        }
    }

    /// Returns the directive of a listener that comes first in `names`, with its place.
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

    /// Returns file and line of the last directive with this name.
    pub fn of_directive(&self, name: &str) -> Option<String> {
        let mut directives = self.0.iter().rev();
        let found = directives.find(|directive| directive.name == name)?;
        Some(found.place.to_string())
    }

    /// Returns file and line of the last directive that names this path.
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

    /// Returns file and line of the directive that opens a listener, by the index of the listener.
    pub fn of_listener(&self, index: usize) -> Option<String> {
        let names = ["listener", "port", "bind_address"];
        let opening = self.first_of(Some(index), &names).map(|(_, place)| place);
        // The default listener may be opened by any of its lines.
        let any = || {
            let mut directives = self.0.iter();
            let first = directives.find(|directive| directive.listener == Some(index));
            first.map(|directive| directive.place.clone())
        };
        opening.or_else(any).map(|place| place.to_string())
    }
}
