//! Reads a configuration in three steps:
//!
//! 1. The parser returns a list of directives with their values and lines (`parser.rs`).
//! 2. The directives are applied one after the other (`directives/`).
//! 3. The rules that concern several directives are checked (`settings.rs`).

use std::path::Path;

use mqtt_session::Printable;

use crate::config::error::ConfigError;
use crate::config::model::BrokerConfig;
use crate::config::parser::{Parsed, Parser, read};
use crate::config::places::Place;
use crate::config::settings::Settings;

impl BrokerConfig {
    /// Reads a configuration file, and the files that it includes.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, or one of its lines is invalid.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read(path)?;
        apply(Parser::parse(path, &bytes, true))
    }

    /// Parses the bytes of a configuration file. `path` is the name of the file in errors. The files of `include_dir`
    /// are not read.
    ///
    /// # Errors
    /// Returns an error if a line is invalid.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        apply(Parser::parse(path, bytes, false))
    }
}

/// Applies the directives in the order of their lines. If a line is invalid, the directives above this line are applied
/// too, because one of them may have an error that comes earlier in the file.
fn apply(parsed: Parsed) -> Result<BrokerConfig, ConfigError> {
    let mut settings = Settings::default();
    for placed in parsed.directives {
        let (directive, place) = (placed.directive, placed.place);
        let applied = directive.apply(&mut settings, &place);
        applied.map_err(|what| error_at(&place, &what))?;
        settings.note_place(placed.name, &placed.value, place);
    }
    // No directive above the invalid line has an error, so this error is the first one of the file.
    if let Some(error) = parsed.error {
        return Err(error);
    }
    let finished = settings.finish();
    finished.map_err(|(place, what)| error_at(&place, &what))
}

fn error_at(place: &Place, what: &str) -> ConfigError {
    let what = Printable(what).to_string();
    ConfigError::Line(place.file.to_path_buf(), place.line, what)
}
