//! `--check-config`: finds errors that would prevent the start of the broker. The check opens no port and changes no
//! file, so it does not disturb a broker that runs with the configuration.
//!
//! The check uses the permissions of the user who runs it. A broker that root starts with `user NAME` may have fewer
//! permissions.

use std::path::Path;

use mqtt_broker::{BrokerConfig, LogDestination};

use super::{files, start_error};
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::wording::system_text;

/// Checks the listeners, and all files that the configuration names.
///
/// # Errors
/// If the broker could not start, or could not write its log or pid_file.
pub(super) fn check(settings: &BrokerConfig) -> Result<(), Failure> {
    let failure = |error| {
        let failure = start_error::failure(start_error::CHECK, &error, &settings.places);
        match failure.status {
            Status::Failed => failure.with_status(Status::Configuration),
            _ => failure,
        }
    };
    mqtt_broker::check(settings).map_err(failure)?;
    for (index, listener) in settings.listeners.iter().enumerate() {
        if let Some(path) = listener.unix_path() {
            let place = settings.places.of_listener(index);
            files::check_writable(path).map_err(|error| invalid("socket", path, &error, place))?;
        }
    }
    let logs = settings.log.destinations.iter();
    let logs = logs.filter_map(|destination| match destination {
        LogDestination::File(path) => Some(path),
        _ => None,
    });
    for path in logs {
        let place = settings.places.of_path(path);
        files::check_own_file(path).map_err(|error| invalid("log file", path, &error, place))?;
    }
    if let Some(path) = &settings.pid_file {
        let place = settings.places.of_path(path);
        files::check_own_file(path).map_err(|error| invalid("pid_file", path, &error, place))?;
    }
    if let Some(path) = settings.store() {
        let places = &settings.places;
        let location = places.of_directive("persistence_location");
        let place = location.or_else(|| places.of_directive("persistence"));
        files::check_writable(&path).map_err(|error| invalid("store", &path, &error, place))?;
    }
    Ok(())
}

/// Returns the failure for a file that the broker could not write.
fn invalid(name: &str, path: &Path, error: &std::io::Error, place: Option<String>) -> Failure {
    let (subject, shown) = (start_error::CHECK, path.display());
    let hint = start_error::missing_folder(path);
    let reason = match hint {
        Some(_) => {
            let folder = path.parent().unwrap_or(path).display();
            format!("the folder '{folder}' does not exist")
        }
        None => system_text(error),
    };
    let text = format!("{subject}: cannot open the {name} '{shown}': {reason}.");
    let failure = Failure::failed(text).with_status(Status::Configuration);
    let failure = match place {
        Some(place) => failure.at(place),
        None => failure,
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
