//! The directives of persistence and of the process.

use std::path::PathBuf;
use std::time::Duration;

use super::definition::{Definition, text, word};
use crate::config::line::Line;
use crate::config::model::{BrokerConfig, ControlSocket};
use crate::store::sync_policy::SyncPolicy;

/// A directive of persistence or of the process.
#[derive(Debug)]
pub(crate) enum ProcessDirective {
    Persistence(bool),
    PersistenceLocation(PathBuf),
    PersistenceFile(PathBuf),
    Sync(SyncPolicy),
    PidFile(PathBuf),
    ControlSocket(ControlSocket),
    User(String),
}

use ProcessDirective as D;

pub(crate) const PROCESS: &[Definition<D>] = &[
    word("persistence", |l| l.boolean().map(D::Persistence)),
    text("persistence_location", |l| {
        Ok(D::PersistenceLocation(l.rest.into()))
    }),
    text("persistence_file", |l| {
        Ok(D::PersistenceFile(l.rest.into()))
    }),
    word("sync", |l| sync(l).map(D::Sync)),
    text("pid_file", |l| Ok(D::PidFile(l.rest.into()))),
    text("control_socket", |l| match l.rest {
        "none" => Ok(D::ControlSocket(ControlSocket::None)),
        "" => Err(l.wrong("a path, or none")),
        path => Ok(D::ControlSocket(ControlSocket::At(path.into()))),
    }),
    word("user", |l| Ok(D::User(l.value().to_owned()))),
];

impl ProcessDirective {
    /// Applies the directive to the configuration.
    pub(crate) fn apply(self, config: &mut BrokerConfig) {
        match self {
            Self::Persistence(is_on) => config.persistence = is_on,
            Self::PersistenceLocation(folder) => config.persistence_location = folder,
            Self::PersistenceFile(path) => config.persistence_file = Some(path),
            Self::Sync(policy) => config.sync = policy,
            Self::PidFile(path) => config.pid_file = Some(path),
            Self::ControlSocket(socket) => config.control_socket = socket,
            Self::User(user) => config.user = Some(user),
        }
    }
}

fn sync(l: &Line<'_>) -> Result<SyncPolicy, String> {
    const EXPECTED: &str = "always, never, or interval and seconds";
    match (l.value(), l.second()) {
        ("always", None) => Ok(SyncPolicy::Always),
        ("never", None) => Ok(SyncPolicy::Never),
        ("interval", Some(seconds)) => {
            // `parse` also accepts `inf` and `NaN`, which the range below excludes.
            let seconds: Option<f64> = seconds.trim_end_matches('s').parse().ok();
            let interval = seconds
                .filter(|seconds| (0.001..=86_400.0).contains(seconds))
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            interval
                .map(SyncPolicy::Interval)
                .ok_or_else(|| l.wrong(EXPECTED))
        }
        _ => Err(l.wrong(EXPECTED)),
    }
}
