//! Applies the entries of a profile to the settings.

use std::ffi::{OsStr, OsString};
use std::path::{MAIN_SEPARATOR, Path};

use mqtt_client::session::Printable;

use crate::failure::Failure;
use crate::flags::definition::{Apply, CommandOption};
use crate::flags::hints;
use crate::flags::options_file;
use crate::flags::profiles::config_file::{Entry, Profile, Value, read};
use crate::flags::profiles::{Source, SourceEffects};
use crate::flags::program::Program;

/// The key of the URL. The option `--url` needs a topic, and the URL of a profile has none.
const URL: &str = "url";

/// The key of the password. The option has the short name of the mosquitto tools, which is accepted too.
const PASSWORD: (&str, &str) = ("password", "pw");

/// Options that may be repeated. A profile has an array for them.
const REPEATABLE: [&str; 2] = ["--host", "--ws-header"];

impl<S> Program<S> {
    /// Applies a profile.
    ///
    /// # Errors
    /// If the profile cannot be read, or an entry is wrong. The error names the file, the line and the key.
    pub(in crate::flags) fn apply_profile(
        &self,
        effects: &SourceEffects<S>,
        settings: &mut S,
        name: &str,
    ) -> Result<(), Failure> {
        let profile = read(name)?;
        (effects.begin)(settings, Source::Profile);
        // The other keys override the parts of the URL.
        let (urls, others): (Vec<_>, Vec<_>) =
            profile.entries.iter().partition(|entry| entry.key == URL);
        for entry in urls.into_iter().chain(others) {
            let place = format!(
                "{}:{}, key '{}' of profile '@{}'",
                profile.path.display(),
                entry.line,
                Printable(&entry.key),
                Printable(&profile.name),
            );
            let applied = self.apply_entry(effects, settings, &profile, entry);
            applied.map_err(|failure| failure.at(place))?;
        }
        Ok(())
    }

    fn apply_entry(
        &self,
        effects: &SourceEffects<S>,
        settings: &mut S,
        profile: &Profile,
        entry: &Entry,
    ) -> Result<(), Failure> {
        if entry.key == URL {
            let url = text(&entry.value)?;
            let url = url.to_str().unwrap_or_default(); // TOML is UTF-8
            return (effects.apply_broker_url)(settings, url);
        }
        let option = self.option_of(&entry.key)?;
        match (&option.apply, &entry.value) {
            (Apply::Flag(_), Value::Boolean(true)) => option.apply(settings, &[]),
            (Apply::Flag(_), Value::Boolean(false)) => Ok(()),
            (Apply::Flag(_), _) => Err(Failure::usage("Invalid value: expected true or false.")),
            (Apply::Property(_), Value::List(properties)) => {
                properties.iter().try_for_each(|property| {
                    let Value::List(words) = property else {
                        return Err(not_a_property());
                    };
                    option.apply(settings, &property_words(words)?)
                })
            }
            (Apply::Property(_), _) => Err(not_a_property()),
            (Apply::Words(apply), Value::List(words)) => {
                let words = words.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                apply(settings, &words)
            }
            (_, Value::List(values)) if REPEATABLE.contains(&option.long) => values
                .iter()
                .try_for_each(|value| option.apply(settings, &[text(value)?])),
            (_, value) => {
                let value = text(value)?;
                let value = if hints::is_path(option.noun) {
                    full_path(&profile.path, &value)
                } else {
                    value
                };
                option.apply(settings, &[value])
            }
        }
    }

    /// Returns the option whose long name is this key.
    fn option_of(&self, key: &str) -> Result<&CommandOption<S>, Failure> {
        let id = if key == PASSWORD.0 { PASSWORD.1 } else { key };
        let mut options = self.all().filter(|option| option.is_in_profiles);
        if let Some(option) = options.find(|option| key_of(option) == id) {
            return Ok(option);
        }
        let options = self.all().filter(|option| option.is_in_profiles);
        let known = options.map(key_of).chain([PASSWORD.0]);
        let failure = Failure::usage(format!("Unknown key '{}'.", Printable(key)));
        Err(match mqtt_broker::closest_name(key, known) {
            Some(closest) => failure.with_hint(format!("Did you mean '{closest}'?")),
            None => failure.with_hint(
                "The keys of a profile are the long names of options about the connection, without the dashes at the start.",
            ),
        })
    }
}

/// Returns the key of an option: its name without the dashes at the start.
fn key_of<S>(option: &CommandOption<S>) -> &'static str {
    option.id().trim_start_matches('-')
}

/// Returns the words of a property for the option `-D`, which gets the name and the value of a user property as one
/// word.
fn property_words(words: &[Value]) -> Result<Vec<OsString>, Failure> {
    let words = words.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    match words.as_slice() {
        [_, _, _] => Ok(words),
        [command, property, name, value] if property == "user-property" => {
            let mut pair = name.clone();
            pair.push("\0");
            pair.push(value);
            Ok(vec![command.clone(), property.clone(), pair])
        }
        _ => Err(not_a_property()),
    }
}

fn not_a_property() -> Failure {
    Failure::usage("Invalid value: expected an array of properties.")
        .with_hint("Write a property as [[\"connect\", \"receive-maximum\", 10]].")
}

/// Returns a text or a number.
fn text(value: &Value) -> Result<OsString, Failure> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Boolean(_) | Value::List(_) | Value::Other => Err(Failure::usage(
            "Invalid value: expected a text or a number.",
        )),
    }
}

/// Returns the path for a path in a profile. Relative paths begin at the folder of the file, because the program may be
/// started in any folder. No shell replaces `~` in the file, so this function does.
fn full_path(file: &Path, path: &OsStr) -> OsString {
    let in_home = path.to_str().and_then(|path| path.strip_prefix('~'));
    let in_home = in_home.and_then(|path| path.strip_prefix(['/', MAIN_SEPARATOR]));
    let home = options_file::variable(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
    if let (Some(path), Some(home)) = (in_home, home) {
        return home.join(path).into();
    }
    let folder = file.parent().unwrap_or(file);
    folder.join(path).into()
}
