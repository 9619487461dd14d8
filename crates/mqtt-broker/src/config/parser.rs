//! [`Parser`]: reads the configuration file, and the files of `include_dir`. It applies the directives line by line
//! (`directives.rs`). After the last line it checks the rules that concern several directives. The place of each
//! directive is recorded, so that later errors can name it (`places.rs`).
//!
//! Directives above the first `listener`, and those below a `port`, belong to the default listener. As in mosquitto,
//! this listener is opened only if one of its directives requires it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqtt_session::Printable;
use mqtt_transport::{TlsServerOptions, reason};

use crate::config::closest_name::closest_name;
use crate::config::directives::{DIRECTIVES, Line};
use crate::config::error::ConfigError;
use crate::config::model::{BrokerConfig, ListenerConfig};
use crate::config::places::Place;
use crate::config::unsupported::instead;

impl BrokerConfig {
    /// Reads a configuration file, and the files that it includes.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, or one of its lines is invalid.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read(path)?;
        Parser::default().run(path, &bytes, true)
    }

    /// Parses the bytes of a configuration file. `path` is the name of the file in errors. The files of `include_dir`
    /// are not read.
    ///
    /// # Errors
    /// Returns an error if a line is invalid.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        Parser::default().run(path, bytes, false)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| ConfigError::Read(path.to_owned(), error))
}

/// The configuration that was read so far.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pub(super) config: BrokerConfig,
    /// The default listener, to which `port` and `bind_address` belong.
    pub(super) default_listener: ListenerConfig,
    /// Set if a `port` directive was read.
    pub(super) has_port: bool,
    /// Set while directives belong to the last `listener`, and not to the default listener.
    pub(super) is_below_listener: bool,
    /// The line that is being read.
    place: Place,
    /// The folder, if the line that is being read is `include_dir`.
    pub(super) include: Option<PathBuf>,
    /// Set while a file of `include_dir` is being read.
    is_included: bool,
}

impl Parser {
    /// Reads a file and returns the configuration.
    fn run(
        mut self,
        path: &Path,
        bytes: &[u8],
        follows_includes: bool,
    ) -> Result<BrokerConfig, ConfigError> {
        self.file(path, bytes, follows_includes)?;
        // The checks come before the default listener is moved, because they find directives by the index of the
        // listener.
        self.ignore_versions_without_certificates();
        self.check().map_err(|(place, what)| {
            let what = Printable(&what).to_string();
            ConfigError::Line(place.file.to_path_buf(), place.line, what)
        })?;
        self.open_default_listener();
        Ok(self.config)
    }

    /// Applies the lines of a file. If `follows_includes` is set, reads the files of `include_dir` where the directive
    /// stands, so that later lines override them.
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
            // Recorded before the line is applied, because its function may add a warning with this place.
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

    /// Applies one line.
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
        // After `apply`, so that the place of a `listener` directive belongs to the listener that it opens.
        let listener = self.config.listeners.len().checked_sub(1);
        // `bind_address` belongs to the default listener, even below a `listener`.
        let listener = listener.filter(|_| self.is_below_listener && name != "bind_address");
        let place = self.place.clone();
        self.config
            .places
            .add(directive.name, line.rest, listener, place);
        Ok(())
    }

    /// Returns the TLS settings of the listener to which the line belongs.
    pub(super) fn tls(&mut self) -> &mut TlsServerOptions {
        self.listener().tls.get_or_insert_default()
    }

    /// Returns the listener to which the line belongs.
    pub(super) fn listener(&mut self) -> &mut ListenerConfig {
        match self.config.listeners.last_mut() {
            Some(listener) if self.is_below_listener => listener,
            _ => &mut self.default_listener,
        }
    }

    /// Adds a warning with the place of the line.
    pub(super) fn warn(&mut self, text: &str) {
        self.config
            .warnings
            .push(format!("{text} ({})", self.place));
    }

    /// Drops the TLS settings of listeners whose only directive of TLS is `tls_version`. As in mosquitto, this
    /// directive alone does not turn TLS on.
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

    /// Adds the default listener to the listeners, if one of its directives requires it.
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
            // If the configuration has other listeners, these limits are meant for them.
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
        // First, wherever its directives are: stored sessions refer to a listener by its number, so the order must be
        // fixed.
        config.listeners.insert(0, listener);
        config.places.put_default_listener_first();
    }

    /// Checks the rules that concern several directives, after the last line.
    ///
    /// # Errors
    /// Returns the place of the directive that needs another one, and the reason.
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

/// Returns the name of a second directive on the same line, which is a mistake. If the value of the first directive may
/// have spaces (`has_text`), only names with '_' count, because a path or a text may contain a word such as `user`.
fn second_directive(line: &Line<'_>, has_text: bool) -> Option<&'static str> {
    let words = line.rest.split_whitespace();
    let words = words.take_while(|word| !word.starts_with('#'));
    let words: Vec<_> = words.collect();
    // The first word is the value of the directive. The last word would be a directive without a value, so it is not
    // one.
    let between = words.split_last()?.1.iter().skip(1);
    let mut between = between.filter(|word| !has_text || word.contains('_'));
    between.find_map(|word| {
        let found = DIRECTIVES.iter().find(|directive| directive.name == *word);
        found.map(|directive| directive.name)
    })
}

/// Returns the error for a word that is no directive of mosquitto either, with a suggestion if a directive is similar.
fn unknown(word: &str) -> String {
    let is_known = |name: &str| DIRECTIVES.iter().any(|directive| directive.name == name);
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
    let known = DIRECTIVES.iter().map(|directive| directive.name);
    match closest_name(word, known) {
        Some(known) => format!("{error} Did you mean '{known}'?"),
        None => error,
    }
}

/// The directives of TLS. An error names the first of them that the listener has.
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

/// The directives that take the user name from the client's certificate.
const IDENTITY_DIRECTIVES: &[&str] = &["use_identity_as_username", "use_subject_as_username"];

/// The port of the default listener without a `port` directive.
const DEFAULT_PORT: u16 = 1883;

/// The byte order mark of UTF-8. Editors of Windows write it at the start of a file, and it is ignored.
const BYTE_ORDER_MARK: &[u8] = "\u{FEFF}".as_bytes();

/// The byte order marks of UTF-16. Editors of Windows save a file in UTF-16 under the name "Unicode".
const UTF_16_MARKS: [&[u8]; 2] = [b"\xFF\xFE", b"\xFE\xFF"];

/// Returns `true` if the first character of the line, after blanks, is `#`.
pub(crate) fn is_comment(line: &[u8]) -> bool {
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
