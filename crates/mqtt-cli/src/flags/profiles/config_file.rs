//! Reads `config.toml`, the file of the profiles.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mqtt_client::session::Printable;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::exit_status::Class;
use crate::failure::Failure;
use crate::flags::options_file::{self, others_can_read};
use crate::output::messages::warn;
use crate::wording::system_text;

/// A profile: its entries in the order of their lines.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: String,
    /// The path of the file.
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
}

/// A key of a profile with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
    /// The number of the line with the key.
    pub(super) line: usize,
}

/// A value of TOML. Numbers are text, because options take text.
#[derive(Debug)]
pub(super) enum Value {
    Text(OsString),
    Boolean(bool),
    List(Vec<Self>),
    /// A value that no option takes: a table or a date.
    Other,
}

/// Reads a profile. Prints a warning if the file has a password and every user of this machine can read it.
///
/// # Errors
/// If the file cannot be read, is not TOML, or has no profile of this name.
pub(super) fn read(name: &str) -> Result<Profile, Failure> {
    let (path, text) = content()?;
    let tables = parse(&path, &text)?;
    warn_if_exposed(&path, &tables);
    let line_of = |offset: usize| 1 + text[..offset].matches('\n').count();
    let found = tables.iter().find(|(key, _)| key.get_ref() == name);
    let Some((key, value)) = found else {
        return Err(unknown(name, &path, &tables));
    };
    let Some(table) = value.get_ref().as_table() else {
        let place = format!("{}:{}", path.display(), line_of(key.span().start));
        return Err(Failure::usage(format!(
            "Invalid profile '@{}': expected a table with the keys of the profile.",
            Printable(name)
        ))
        .at(place)
        .with_hint(format!(
            "Write '[{}]' on a line of its own.",
            Printable(name)
        )));
    };
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &Spanned<std::borrow::Cow<'_, str>> = key;
        Entry {
            key: key.get_ref().to_string(),
            value: Value::from(value.get_ref()),
            line: line_of(key.span().start),
        }
    };
    Ok(Profile {
        name: name.to_owned(),
        entries: entries.into_iter().map(entry).collect(),
        path,
    })
}

/// Returns the names of all profiles, in alphabetical order.
///
/// # Errors
/// If the file cannot be read or is not TOML.
pub(crate) fn names() -> Result<Vec<String>, Failure> {
    let (path, text) = content()?;
    let tables = parse(&path, &text)?;
    let profiles = tables
        .iter()
        .filter(|(_, value)| value.get_ref().is_table());
    Ok(profiles.map(|(key, _)| key.get_ref().to_string()).collect())
}

impl From<&DeValue<'_>> for Value {
    fn from(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.as_ref().into()),
            // Options take decimal numbers, and TOML also has 0x75b. A number beyond 64 bits stays as it is written, and
            // the option rejects it.
            DeValue::Integer(number) => {
                let decimal = i64::from_str_radix(number.as_str(), number.radix());
                let written = || number.as_str().to_owned();
                Self::Text(decimal.map_or_else(|_| written(), |n| n.to_string()).into())
            }
            DeValue::Float(number) => Self::Text(number.as_str().into()),
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Array(values) => {
                Self::List(values.iter().map(|value| value.get_ref().into()).collect())
            }
            DeValue::Datetime(_) | DeValue::Table(_) => Self::Other,
        }
    }
}

/// Returns the path of the file. On Windows it is in the folder for settings of programs.
fn path() -> Result<PathBuf, Failure> {
    let folder = if cfg!(windows) {
        options_file::variable("APPDATA")
    } else {
        options_file::folder()
    };
    let folder = folder.ok_or_else(|| {
        let variable = if cfg!(windows) { "APPDATA" } else { "HOME" };
        Failure::failed(format!(
            "Cannot find the profiles: the variable {variable} is not set."
        ))
    })?;
    Ok(folder.join("rpubsub").join("config.toml"))
}

/// Returns the path and the text of the file.
fn content() -> Result<(PathBuf, String), Failure> {
    let path = path()?;
    let fail = |text: &str| {
        let shown = path.display();
        Failure::usage(format!("Unable to read the profiles of '{shown}': {text}."))
            .with_class(Class::NoInput)
    };
    let bytes = options_file::content(&path).map_err(|error| fail(&system_text(&error)))?;
    let text = String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8"))?;
    Ok((path, text))
}

fn parse<'a>(path: &Path, text: &'a str) -> Result<DeTable<'a>, Failure> {
    let tables = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
        // The message names what was expected and does not repeat the line, which may have a password.
        Failure::usage(format!("Invalid TOML: {}.", Printable(error.message())))
            .at(format!("{}:{line}", path.display()))
    })?;
    Ok(tables.into_inner())
}

/// Returns the failure for a profile that the file does not have.
fn unknown(name: &str, path: &Path, tables: &DeTable<'_>) -> Failure {
    let failure = Failure::usage(format!("Unknown profile '@{}'.", Printable(name)))
        .at(path.display().to_string());
    let known = || tables.keys().map(|key| key.get_ref().as_ref());
    if let Some(closest) = mqtt_broker::closest_name(name, known()) {
        return failure.with_hint(format!("Did you mean '@{}'?", Printable(closest)));
    }
    let all: Vec<_> = known()
        .map(|name| format!("@{}", Printable(name)))
        .collect();
    match all.as_slice() {
        [] => failure.with_hint(format!("Add a table '[{}]' to the file.", Printable(name))),
        all => failure.with_hint(format!("The file has {}.", all.join(", "))),
    }
}

/// Warns of a file with a password that every user of this machine can read. All profiles count, because such a user
/// can read all of them.
fn warn_if_exposed(path: &Path, tables: &DeTable<'_>) {
    let entries = tables
        .values()
        .filter_map(|value| value.get_ref().as_table());
    let mut entries = entries.flat_map(|table| table.iter());
    let has_password = entries.any(|(key, value)| match key.get_ref().as_ref() {
        "password" | "pw" => true,
        "url" | "proxy" => value.get_ref().as_str().is_some_and(|url| {
            let credentials = url.rsplit_once('@').map_or("", |(before, _)| before);
            // The first colon ends the scheme.
            credentials.matches(':').count() > 1
        }),
        _ => false,
    });
    if has_password && std::fs::metadata(path).is_ok_and(|data| others_can_read(&data)) {
        let path = path.display();
        warn(&format!(
            "The file of profiles '{path}' contains a password and can be read by every user of this machine (chmod o-r changes that)."
        ));
    }
}
