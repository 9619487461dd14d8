//! [`Parser`]: reads the lines of configuration files, those of `include_dir` too, and checks at the end what needs
//! several lines. Each directive keeps its line, so later errors name it (`places.rs`).
//!
//! Lines above the first `listener` line, and those below a `port` line, belong to the default listener. As with
//! mosquitto, that listener is opened if one of these lines asks for it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqtt_session::Printable;
use mqtt_transport::{TlsServerOptions, reason};

use super::closest_name::closest_name;
use super::directives::{DIRECTIVES, Line};
use super::places::Place;
use super::unsupported::instead;
use super::{BrokerConfig, ConfigError, ListenerConfig};

impl BrokerConfig {
    /// Reads a configuration file, and those that it includes.
    ///
    /// # Errors
    /// If it cannot be read, or a line of it is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read(path)?;
        Parser::default().run(path, &bytes, true)
    }

    /// Understands the bytes of a configuration file; `path` is its name in errors. Files that it
    /// includes are not read.
    ///
    /// # Errors
    /// If a line is wrong.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        Parser::default().run(path, bytes, false)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| ConfigError::Read(path.to_owned(), error))
}

/// The configuration as read so far.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pub(super) config: BrokerConfig,
    /// The listener of the lines `port` and `bind_address`.
    pub(super) default_listener: ListenerConfig,
    /// Set once there was a `port` line.
    pub(super) has_port: bool,
    /// Set while lines belong to the last `listener` line, and not to the default listener.
    pub(super) is_below_listener: bool,
    /// The line that is being read.
    place: Place,
    /// `include_dir`, of the line that is being read.
    pub(super) include: Option<PathBuf>,
    is_included: bool,
}

impl Parser {
    fn run(
        mut self,
        path: &Path,
        bytes: &[u8],
        follows_includes: bool,
    ) -> Result<BrokerConfig, ConfigError> {
        self.file(path, bytes, follows_includes)?;
        self.ignore_versions_without_certificates();
        self.check().map_err(|(place, what)| {
            let what = Printable(&what).to_string();
            ConfigError::Line(place.file.to_path_buf(), place.line, what)
        })?;
        self.open_default_listener();
        Ok(self.config)
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
            self.place = Place {
                file: Arc::clone(&file),
                line: index + 1,
            };
            self.line(&line).map_err(error)?;
            if let Some(folder) = self.include.take().filter(|_| follows_includes) {
                let files = included(&folder).map_err(|problem| {
                    let (folder, reason) = (folder.display(), reason(&problem));
                    error(format!("Cannot read the folder '{folder}': {reason}."))
                })?;
                self.is_included = true;
                for file in files {
                    let bytes = read(&file)?;
                    self.file(&file, &bytes, false)?;
                }
                self.is_included = false;
            }
        }
        Ok(())
    }

    pub(super) fn line(&mut self, line: &str) -> Result<(), String> {
        if is_comment(line.as_bytes()) || line.trim().is_empty() {
            return Ok(());
        }
        let line = Line::new(line);
        let name = line.name;
        let Some(directive) = DIRECTIVES.iter().find(|directive| directive.name == name) else {
            return Err(match instead(name) {
                Some(instead) => format!("'{name}' is not supported by this broker: {instead}"),
                None => unknown(name),
            });
        };
        if line.rest.is_empty() {
            return Err(format!("Empty '{name}' value in configuration."));
        }
        if self.is_included && name == "include_dir" {
            return Err("'include_dir' is allowed in the main file only.".to_owned());
        }
        if let Some(second) = second_directive(&line, directive.has_text) {
            return Err(format!(
                "'{name}' and '{second}' are on the same line: write each directive on a line of its own."
            ));
        }
        (directive.apply)(self, &line)?;
        let listener = self.config.listeners.len().checked_sub(1);
        // `bind_address` is about the default listener wherever it stands.
        let listener = listener.filter(|_| self.is_below_listener && name != "bind_address");
        let place = self.place.clone();
        self.config
            .places
            .add(directive.name, line.rest, listener, place);
        Ok(())
    }

    /// Returns the TLS settings of the listener that the line belongs to.
    pub(super) fn tls(&mut self) -> &mut TlsServerOptions {
        self.listener().tls.get_or_insert_default()
    }

    /// Returns the listener that the line belongs to.
    pub(super) fn listener(&mut self) -> &mut ListenerConfig {
        match self.config.listeners.last_mut() {
            Some(listener) if self.is_below_listener => listener,
            _ => &mut self.default_listener,
        }
    }

    /// Adds a warning that names the place of the line.
    pub(super) fn warn(&mut self, text: &str) {
        self.config
            .warnings
            .push(format!("{text} ({})", self.place));
    }

    /// Drops the TLS settings of listeners that name no file: a `tls_version` alone does not make a listener use TLS.
    fn ignore_versions_without_certificates(&mut self) {
        let listeners = self.config.listeners.iter_mut();
        for listener in listeners.chain([&mut self.default_listener]) {
            listener.tls = listener.tls.take().filter(|tls| {
                let without_version = TlsServerOptions {
                    version: None,
                    ..tls.clone()
                };
                without_version != TlsServerOptions::default()
            });
        }
    }

    /// Adds the default listener to those that are opened, if a line asks for it.
    fn open_default_listener(&mut self) {
        let config = &mut self.config;
        let mut listener = std::mem::take(&mut self.default_listener);
        let is_only_one = config.listeners.is_empty();
        let of_all = &config.listener_limits;
        let is_limited = of_all.maximum_connections.is_some() || of_all.maximum_qos.is_some();
        let is_asked_for = self.has_port
            || listener.host.is_some()
            || listener.only_ipv4.is_some()
            || listener.websocket
            || listener.tls.is_some()
            || listener.identity.is_some()
            || listener.user_name_is_identifier
            // Where there are other listeners, these lines are meant for them.
            || is_only_one && is_limited;
        if !is_asked_for {
            return;
        }
        if !self.has_port {
            listener.port = DEFAULT_PORT;
        }
        if config.per_listener {
            let own = std::mem::take(&mut listener.security);
            listener.security = own.or(&config.security);
        }
        config.listeners.insert(0, listener);
        config.places.put_default_listener_first();
    }

    /// Checks what can only be seen at the end of the files. An error comes with the line of the directive that needs
    /// another one.
    fn check(&self) -> Result<(), (Place, String)> {
        let listeners = self.config.listeners.iter().enumerate();
        let listeners = listeners.map(|(index, listener)| (Some(index), listener));
        for (index, listener) in listeners.chain([(None, &self.default_listener)]) {
            let error = |names: &[&str], text: &dyn Fn(&str) -> String| {
                let first = self.config.places.first_of(index, names);
                let (name, place) = first.unwrap_or_else(|| ("listener", self.place.clone()));
                (place, text(name))
            };
            let tls = listener.tls.as_ref();
            let is_half = |tls: &TlsServerOptions| {
                tls.certificate.as_os_str().is_empty() || tls.key.as_os_str().is_empty()
            };
            if tls.is_some_and(is_half) {
                let needs_both = "A listener with TLS needs both 'certfile' and 'keyfile'.";
                return Err(error(TLS_DIRECTIVES, &|name| match name {
                    "certfile" => format!("{needs_both} 'keyfile' is missing."),
                    "keyfile" => format!("{needs_both} 'certfile' is missing."),
                    name => format!("{needs_both} '{name}' has no effect without them."),
                }));
            }
            let asks = |tls: &TlsServerOptions| tls.ca_file.is_some() || tls.ca_path.is_some();
            if listener.identity.is_some() && !tls.is_some_and(asks) {
                return Err(error(IDENTITY_DIRECTIVES, &|name| {
                    format!("'{name}' needs 'cafile' or 'capath' for the same listener.")
                }));
            }
        }
        Ok(())
    }
}

/// Returns the name of a directive that follows on the line of another one. A path or a text may have spaces, so that
/// words in it that are no more than words, such as `user`, are no directives.
fn second_directive(line: &Line<'_>, has_text: bool) -> Option<&'static str> {
    let words = line.rest.split_whitespace();
    let words = words.take_while(|word| !word.starts_with('#'));
    let words: Vec<_> = words.collect();
    // The first word is the value of this line, and the last one would be a directive without a value.
    let between = words.split_last()?.1.iter().skip(1);
    let mut between = between.filter(|word| !has_text || word.contains('_'));
    between.find_map(|word| {
        let found = DIRECTIVES.iter().find(|directive| directive.name == *word);
        found.map(|directive| directive.name)
    })
}

/// Returns the error for a name that mosquitto does not know either, with the directive that may have been meant.
fn unknown(word: &str) -> String {
    let is_known = |name: &str| DIRECTIVES.iter().any(|directive| directive.name == name);
    if let Some((name, _)) = word.split_once('=').filter(|(name, _)| is_known(name)) {
        return format!(
            "Unknown configuration variable '{name}=': write a space in the place of '='."
        );
    }
    // A name has letters, digits and '_'. Other words may have a secret in them, as the lines of a password file.
    let end = word.find(|letter: char| !(letter.is_alphanumeric() || "_-.".contains(letter)));
    let shown = match end.and_then(|end| word.get(..end)) {
        Some(start) => format!("{start}…"),
        None => word.to_owned(),
    };
    let error = format!("Unknown configuration variable '{shown}'.");
    let known = DIRECTIVES.iter().map(|directive| directive.name);
    match closest_name(word, known) {
        Some(known) => format!("{error} Did you mean '{known}'?"),
        None => error,
    }
}

/// Directives of TLS in the order in which an error names them.
const TLS_DIRECTIVES: &[&str] = &[
    "certfile",
    "keyfile",
    "cafile",
    "capath",
    "crlfile",
    "require_certificate",
    "ciphers",
    "dhparamfile",
];

const IDENTITY_DIRECTIVES: &[&str] = &["use_identity_as_username", "use_subject_as_username"];

/// The port of the default listener, if there is no `port` line.
const DEFAULT_PORT: u16 = 1883;

/// Editors of Windows write it at the start of a file.
const BYTE_ORDER_MARK: &[u8] = "\u{FEFF}".as_bytes();

/// The marks of UTF-16, which an editor of Windows calls "Unicode".
const UTF_16_MARKS: [&[u8]; 2] = [b"\xFF\xFE", b"\xFE\xFF"];

/// Returns `true` for a line that is a comment: nothing but blanks before the `#`.
pub(crate) fn is_comment(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"#")
}

/// Returns the text of a line. Comments may have bytes that are not UTF-8, as old editors write them; so may what
/// follows a ` #`, which most lines ignore.
///
/// # Errors
/// If other bytes are not UTF-8.
fn text_of(line: &[u8]) -> Result<Cow<'_, str>, String> {
    let error = match std::str::from_utf8(line) {
        Ok(text) => return Ok(text.into()),
        Err(error) => error,
    };
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

/// The files of a folder whose names end with `.conf`, by name.
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
    files.sort();
    Ok(files)
}
