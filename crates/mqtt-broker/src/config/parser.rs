//! [`Parser`]: reads the configuration file, and the files of `include_dir`, into a list of directives. Each directive
//! has its place, so that the error of a later check can name the line.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqtt_session::Printable;
use mqtt_transport::reason;

use crate::config::closest_name::closest_name;
use crate::config::directives::table::{self, Directive};
use crate::config::error::ConfigError;
use crate::config::line::Line;
use crate::config::places::Place;
use crate::config::unsupported::instead;

/// A directive with its line.
#[derive(Debug)]
pub(super) struct PlacedDirective {
    pub(super) directive: Directive,
    pub(super) name: &'static str,
    /// The unchanged text after the name.
    pub(super) value: String,
    pub(super) place: Place,
}

/// The directives above the first invalid line, and its error if there is one.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) directives: Vec<PlacedDirective>,
    pub(super) error: Option<ConfigError>,
}

/// Reads a file.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| ConfigError::Read(path.to_owned(), error))
}

/// The directives that were parsed so far.
#[derive(Debug, Default)]
pub(super) struct Parser {
    directives: Vec<PlacedDirective>,
    /// Set while a file of `include_dir` is being read.
    is_included: bool,
}

impl Parser {
    /// Parses a file. If `follows_includes` is set, the files of an `include_dir` directive are parsed before the next
    /// line of the file, so that later lines override them.
    pub(super) fn parse(path: &Path, bytes: &[u8], follows_includes: bool) -> Parsed {
        let mut parser = Self::default();
        let parsed = parser.file(path, bytes, follows_includes);
        Parsed {
            directives: parser.directives,
            error: parsed.err(),
        }
    }

    fn file(
        &mut self,
        path: &Path,
        bytes: &[u8],
        follows_includes: bool,
    ) -> Result<(), ConfigError> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let file = Arc::new(path.to_owned());
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let error = |what: String| {
                let what = Printable(&what).to_string();
                ConfigError::Line(path.to_owned(), index + 1, what)
            };
            if index == 0 && UTF_16_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
                let text = "The file is in UTF-16, as its byte order mark says: save it in UTF-8.";
                return Err(error(text.to_owned()));
            }
            let line = text_of(line).map_err(error)?;
            let place = Place {
                file: Arc::clone(&file),
                line: index + 1,
            };
            let Some(directive) = self.line(&line, place).map_err(error)? else {
                continue; // a comment, or an empty line
            };
            let folder = match &directive.directive {
                Directive::IncludeDir(folder) if follows_includes => Some(folder.clone()),
                _ => None,
            };
            self.directives.push(directive);
            if let Some(folder) = folder {
                let files = included(&folder).map_err(|problem| {
                    let (folder, reason) = (folder.display(), reason(&problem));
                    error(format!("Cannot read the folder '{folder}': {reason}."))
                })?;
                self.include(files)?;
            }
        }
        Ok(())
    }

    /// Parses the files of an `include_dir`.
    fn include(&mut self, files: Vec<PathBuf>) -> Result<(), ConfigError> {
        self.is_included = true;
        for file in files {
            let bytes = read(&file)?;
            self.file(&file, &bytes, false)?;
        }
        self.is_included = false;
        Ok(())
    }

    /// Parses one line. Returns `None` for a comment or an empty line.
    pub(super) fn line(&self, line: &str, place: Place) -> Result<Option<PlacedDirective>, String> {
        if is_comment(line.as_bytes()) || line.trim().is_empty() {
            return Ok(None);
        }
        let line = Line::new(line);
        let name = line.name;
        let Some(found) = table::find(name) else {
            return Err(match instead(name) {
                Some(instead) => format!("'{name}' is not supported by this broker: {instead}"),
                None => unknown(name),
            });
        };
        if line.rest.is_empty() {
            return Err(format!("Empty '{name}' value in configuration."));
        }
        // Folders that include each other would be read without end.
        if self.is_included && name == "include_dir" {
            return Err("'include_dir' is allowed in the main file only.".to_owned());
        }
        if let Some(second) = second_directive(&line, found.has_text) {
            return Err(format!(
                "'{name}' and '{second}' are on the same line: write each directive on a line of its own."
            ));
        }
        Ok(Some(PlacedDirective {
            directive: found.parse(&line)?,
            name: found.name,
            value: line.rest.to_owned(),
            place,
        }))
    }
}

/// Returns the name of a second directive on the same line, which is a mistake. If the value of the first directive may
/// have spaces (`has_text`), only names with '_' count, because a path or a text may contain a word such as `user`.
fn second_directive(line: &Line<'_>, has_text: bool) -> Option<&'static str> {
    let words = line.rest.split_whitespace();
    let words = words.take_while(|word| !word.starts_with('#'));
    let words: Vec<_> = words.collect();
    // The first word is the value of the directive. The last word cannot be a directive, because it has no value.
    let between = words.split_last()?.1.iter().skip(1);
    let mut between = between.filter(|word| !has_text || word.contains('_'));
    between.find_map(|word| {
        let found = table::find(word);
        found.map(|directive| directive.name)
    })
}

/// Returns the error for a word that is no directive of mosquitto either, with a suggestion if a directive is similar.
fn unknown(word: &str) -> String {
    let is_known = |name: &str| table::find(name).is_some();
    if let Some((name, _)) = word.split_once('=').filter(|(name, _)| is_known(name)) {
        return format!(
            "Unknown configuration variable '{name}=': write a space in the place of '='."
        );
    }
    // A directive name has only letters, digits and '_'. Any other word may contain a secret, for example if the file
    // is a password file. So the error, which may end up in a log, shows only the beginning of the word.
    let end = word.find(|letter: char| !(letter.is_alphanumeric() || "_-.".contains(letter)));
    let shown = match end.and_then(|end| word.get(..end)) {
        Some(start) => format!("{start}…"),
        None => word.to_owned(),
    };
    let error = format!("Unknown configuration variable '{shown}'.");
    let known = table::all().map(|directive| directive.name);
    match closest_name(word, known) {
        Some(known) => format!("{error} Did you mean '{known}'?"),
        None => error,
    }
}

/// The byte order mark of UTF-8. Editors of Windows write it at the start of a file, and it is ignored.
const BYTE_ORDER_MARK: &[u8] = "\u{FEFF}".as_bytes();

/// The byte order marks of UTF-16. Editors of Windows save a file in UTF-16 under the name "Unicode".
const UTF_16_MARKS: [&[u8]; 2] = [b"\xFF\xFE", b"\xFE\xFF"];

/// Returns `true` if the first character of the line, after blanks, is `#`.
fn is_comment(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"#")
}

/// Returns the text of a line. A comment may have bytes that are not UTF-8, because old editors use other character
/// sets. The same is true for the part of a line after ` #`, which most directives ignore.
///
/// # Errors
/// Returns the reason if any other bytes are not UTF-8.
fn text_of(line: &[u8]) -> Result<Cow<'_, str>, String> {
    let error = match std::str::from_utf8(line) {
        Ok(text) => return Ok(text.into()),
        Err(error) => error,
    };
    // Only the bytes before the first invalid one can show that a comment has begun.
    let (valid, rest) = line
        .split_at_checked(error.valid_up_to())
        .unwrap_or_default();
    let has_comment = valid.windows(2).any(|pair| pair == b" #" || pair == b"\t#");
    if is_comment(line) || has_comment {
        return Ok(String::from_utf8_lossy(line));
    }
    let byte = rest.first().copied().unwrap_or_default();
    Err(format!(
        "The line is not valid UTF-8 (byte {byte:#04X}): save the file in UTF-8."
    ))
}

/// Returns the files of a folder whose names end with `.conf`, in the order of their names.
fn included(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "conf")
        {
            files.push(path);
        }
    }
    // The order of a folder is arbitrary, and later files override earlier ones.
    files.sort();
    Ok(files)
}
