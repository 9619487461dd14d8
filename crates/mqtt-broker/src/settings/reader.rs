//! From files to settings: lines, files of `include_dir`, and what can only be seen at the end.

use std::path::{Path, PathBuf};

use mqtt_session::Printable;
use mqtt_transport::TlsServerOptions;

use super::directives::{DIRECTIVES, Line};
use super::refused::instead;
use super::{ListenerSettings, Settings, SettingsError};

impl Settings {
    /// Reads a configuration file, and those that it includes.
    ///
    /// # Errors
    /// If it cannot be read, or a line of it is wrong.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let bytes = read(path)?;
        Reader::default().run(path, &bytes, true)
    }

    /// Understands the bytes of a configuration file; `path` is its name in errors. Files that it
    /// includes are not read.
    ///
    /// # Errors
    /// If a line is wrong.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, SettingsError> {
        Reader::default().run(path, bytes, false)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|error| SettingsError::Read(path.to_owned(), error))
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) settings: Settings,
    /// `bind_address`, for the listener of `port`.
    pub(super) bind_address: Option<String>,
    /// The place of the listener that `port` made.
    pub(super) port_listener: Option<usize>,
    /// `include_dir`, of the line that is being read.
    pub(super) include: Option<PathBuf>,
    is_included: bool,
}

impl Reader {
    fn run(
        mut self,
        path: &Path,
        bytes: &[u8],
        follows_includes: bool,
    ) -> Result<Settings, SettingsError> {
        self.file(path, bytes, follows_includes)?;
        let end = bytes.split(|&byte| byte == b'\n').count();
        self.apply_bind_address();
        self.apply_first_lines();
        let error = |what| SettingsError::Line(path.to_owned(), end, what);
        self.check().map_err(error)?;
        Ok(self.settings)
    }

    fn file(
        &mut self,
        path: &Path,
        bytes: &[u8],
        follows_includes: bool,
    ) -> Result<(), SettingsError> {
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let error = |what: String| {
                let what = Printable(&what).to_string();
                SettingsError::Line(path.to_owned(), index + 1, what)
            };
            let line = std::str::from_utf8(line)
                .map_err(|_| error("The line is not valid UTF-8.".to_owned()))?;
            self.line(line).map_err(error)?;
            if let Some(folder) = self.include.take().filter(|_| follows_includes) {
                let files = included(&folder).map_err(|problem| {
                    error(format!("Cannot read '{}': {problem}.", folder.display()))
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
        if line.starts_with('#') || line.trim().is_empty() {
            return Ok(());
        }
        let line = Line::new(line);
        let name = line.name;
        let Some(directive) = DIRECTIVES.iter().find(|directive| directive.name == name) else {
            return Err(match instead(name) {
                Some(instead) => format!("'{name}' is not supported by this broker: {instead}"),
                None => format!("Unknown configuration variable '{name}'."),
            });
        };
        if line.rest.is_empty() {
            return Err(format!("Empty '{name}' value in configuration."));
        }
        if self.is_included && name == "include_dir" {
            return Err("'include_dir' is for the main file only.".to_owned());
        }
        (directive.apply)(self, &line)
    }

    /// What the listener above is told about TLS.
    pub(super) fn tls(&mut self, name: &str) -> Result<&mut TlsServerOptions, String> {
        Ok(self.listener(name)?.tls.get_or_insert_default())
    }

    /// The listener above.
    pub(super) fn listener(&mut self, name: &str) -> Result<&mut ListenerSettings, String> {
        let listener = self.settings.listeners.last_mut();
        listener.ok_or_else(|| format!("'{name}' needs a 'listener' line above."))
    }

    fn apply_bind_address(&mut self) {
        let Some(address) = self.bind_address.take() else {
            return;
        };
        if let Some(index) = self.port_listener {
            if let Some(listener) = self.settings.listeners.get_mut(index) {
                listener.host = Some(address);
            }
        } else {
            self.settings.listeners.insert(
                0,
                ListenerSettings {
                    port: 1883,
                    host: Some(address),
                    ..ListenerSettings::default()
                },
            );
            self.port_listener = Some(0);
        }
    }

    /// With `per_listener_settings` lines above the first listener are for the one of `port`.
    fn apply_first_lines(&mut self) {
        let settings = &mut self.settings;
        let listener = self
            .port_listener
            .and_then(|index| settings.listeners.get_mut(index));
        if let Some(listener) = listener.filter(|_| settings.per_listener) {
            let own = std::mem::take(&mut listener.security);
            listener.security = own.or(&settings.security);
        }
    }

    /// What can only be seen at the end of the file.
    fn check(&self) -> Result<(), String> {
        for listener in &self.settings.listeners {
            let tls = listener.tls.as_ref();
            let is_half = |tls: &TlsServerOptions| {
                tls.certificate.as_os_str().is_empty() || tls.key.as_os_str().is_empty()
            };
            if tls.is_some_and(is_half) {
                return Err("A listener with TLS needs both 'certfile' and 'keyfile'.".to_owned());
            }
            let asks = |tls: &TlsServerOptions| tls.ca_file.is_some() || tls.ca_path.is_some();
            if listener.identity.is_some() && !tls.is_some_and(asks) {
                return Err("A user name from a certificate needs 'cafile' or 'capath'.".to_owned());
            }
        }
        Ok(())
    }
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
